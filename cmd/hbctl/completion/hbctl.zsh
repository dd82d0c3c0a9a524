#compdef hbctl
# zsh completion for hbctl: source <(hbctl completion zsh), or as _hbctl in a folder of $fpath
_hbctl() {
	local line
	local -a texts abouts shown
	local -i i widest=0
	while IFS= read -r line; do
		if [[ $line == ":files" ]]; then
			_files
			return
		fi
		texts+=("${line%%$'\t'*}")
		abouts+=("${${line#"${line%%$'\t'*}"}#$'\t'}")
		(( ${(m)#texts[-1]} > widest )) && widest=${(m)#texts[-1]}
	done < <("${words[1]}" __complete -- zsh "${(@)words[2,CURRENT]}" 2>/dev/null)
	for (( i = 1; i <= ${#texts}; i++ )); do
		line=${texts[i]}
		[[ -n ${abouts[i]} ]] && line="${(mr:widest:)line}  -- ${abouts[i]}"
		shown+=("${line[1,COLUMNS-1]}")
	done
	(( ${#texts} )) && compadd -l -d shown -a texts
}
if [[ ${funcstack[1]} == _hbctl ]]; then
	_hbctl "$@"
else
	compdef _hbctl hbctl
fi
