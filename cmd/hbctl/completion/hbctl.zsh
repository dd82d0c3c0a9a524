#compdef hbctl
# zsh completion for hbctl: source <(hbctl completion zsh), or as _hbctl in a folder of $fpath
_hbctl() {
	local line
	local -a texts shown
	while IFS= read -r line; do
		if [[ $line == ":files" ]]; then
			_files
			return
		fi
		texts+=("${line%%$'\t'*}")
		if [[ $line == *$'\t'* ]]; then
			shown+=("${line%%$'\t'*}  -- ${line#*$'\t'}")
		else
			shown+=("$line")
		fi
	done < <("${words[1]}" __complete -- zsh "${(@)words[2,CURRENT]}" 2>/dev/null)
	(( ${#texts} )) && compadd -l -d shown -a texts
}
if [[ ${funcstack[1]} == _hbctl ]]; then
	_hbctl "$@"
else
	compdef _hbctl hbctl
fi
