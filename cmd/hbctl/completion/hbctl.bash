# bash completion for hbctl: source <(hbctl completion bash)
_hbctl() {
	local line
	COMPREPLY=()
	while IFS= read -r line; do
		if [[ $line == ":files" ]]; then
			compopt -o default 2>/dev/null
			COMPREPLY=()
			return
		fi
		COMPREPLY+=("$line")
	done < <("${COMP_WORDS[0]}" __complete -- bash "$COMP_LINE" "$COMP_POINT" "$2" 2>/dev/null)
	# After "--flag=" and in BINARY/HOST the word goes on.
	if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
		compopt -o nospace 2>/dev/null
	fi
}
complete -F _hbctl hbctl
