# SPDX-License-Identifier: Apache-2.0
# bash completion for fumehood(1). The program itself says what its commands and options are
# (fumehood --completion-words [COMMAND]), so that this file knows nothing that could go stale.

_fumehood_words()
{
	"${COMP_WORDS[0]}" --completion-words "$@" 2>/dev/null
}

# Completes a value of this kind.
_fumehood_value()
{
	local kind=$1 cur=$2 prefix=
	case $kind in
	file)
		# NAME=FILE: complete what stands behind the last '='
		if [[ $cur == *=* ]]; then
			prefix=${cur%=*}=
			cur=${cur##*=}
		fi
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		# readline has cut at '=' already when it is a word break
		[[ $COMP_WORDBREAKS == *=* ]] || COMPREPLY=("${COMPREPLY[@]/#/$prefix}")
		;;
	dir)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		;;
	model)
		# admitted models; a private broker is started when none runs
		mapfile -t COMPREPLY < <(compgen -W "$(timeout 1 "${COMP_WORDS[0]}" list --quiet 2>/dev/null |
			awk 'NR > 1 { print $1 }')" -- "$cur")
		;;
	esac
}

_fumehood()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= i words kind
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--socket | --state-dir) ((i++)) ;;
		-*) ;;
		*) command=${COMP_WORDS[i]}; break ;;
		esac
	done
	if [[ -z $command ]]; then
		words=$(_fumehood_words | sed -n 's/^command //p')
		mapfile -t COMPREPLY < <(compgen -W "$words --help --version" -- "$cur")
		return
	fi
	# after '=' inside a value, the option stands some words before
	for ((i = COMP_CWORD - 1; i > 0 && COMP_CWORD - i < 5; i--)); do
		[[ ${COMP_WORDS[i]} == --* ]] && prev=${COMP_WORDS[i]} && break
		[[ ${COMP_WORDS[i]} == = || ${COMP_WORDS[i+1]} == = ]] || break
	done
	[[ $cur == = ]] && cur=
	words=$(_fumehood_words "$command")
	kind=$(sed -n "s/^option $prev //p" <<< "$words")
	if [[ $prev == --* && -n $kind && $kind != none ]]; then
		_fumehood_value "$kind" "$cur"
	elif [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(sed -n 's/^option \(--[^ ]*\) .*/\1/p' <<< "$words")" -- "$cur")
	else
		_fumehood_value "$(sed -n 's/^args //p' <<< "$words")" "$cur"
		mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$(sed -n 's/^verb //p' <<< "$words")" -- "$cur")
	fi
}

complete -F _fumehood fumehood
