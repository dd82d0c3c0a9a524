# fish completion for hbctl: hbctl completion fish | source
function __hbctl_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l found (command $words[1] __complete -- fish $words[2..-1] "$last" 2>/dev/null)
    if test "$found" = ":files"
        __fish_complete_path "$last"
        return
    end
    printf '%s\n' $found
end
complete -c hbctl -f -a '(__hbctl_complete)'
