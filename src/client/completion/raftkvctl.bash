# bash completion for raftkvctl; installed as /usr/share/bash-completion/completions/raftkvctl.
# tests/unit/test_pages.py compares the words here with what raftkvctl knows.

# The first column of what raftkvctl lists, asked with the options that stand on the command line so far.
__raftkvctl_listed() {
    local word options=()
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in
        --endpoints=* | --bus=* | --node=*) options+=("$word") ;;
        esac
    done
    # Below the members stands "Cluster ID, ...".
    raftkvctl "${options[@]}" --timeout=1 "$@" 2> /dev/null | awk 'NR > 1 && $2 !~ /,$/ { print $1 }'
}

_raftkvctl() {
    local commands='accept add-nonvoter add-voter await backup barrier cancel check delete demote-voter get help list members operations put reject remove-server snapshot stats status transfer-leadership verify-leader'
    local global='--endpoints= --bus= --node= --output= --timeout= --help --version'
    local -A own=(
        [accept]='--nonvoter --expected-index='
        [add-nonvoter]='--expected-index='
        [add-voter]='--expected-index='
        [demote-voter]='--expected-index= --force'
        [get]='--raw --stale'
        [list]='--stale --from= --limit= --keys-only'
        [members]='--stale --pending'
        [put]='--file='
        [remove-server]='--expected-index= --force'
    )
    local current=${COMP_WORDS[COMP_CWORD]} command= positional=0 word i words

    # bash splits --option=host:port at "=" and ":"; put it together again.
    local line=() glue=
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ $word == [=:]* && ${#line[@]} -gt 0 ]]; then
            line[-1]+=$word glue=yes
        elif [ -n "$glue" ]; then
            line[-1]+=$word glue=
        else
            line+=("$word")
        fi
    done
    local COMP_WORDS=("${line[@]}") COMP_CWORD=$((${#line[@]} - 1))
    word=${COMP_WORDS[COMP_CWORD]}

    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --*) ;;
        *)
            if [ -z "$command" ]; then
                command=${COMP_WORDS[i]}
            else
                positional=$((positional + 1))
            fi
            ;;
        esac
    done

    COMPREPLY=()
    case $word in
    --output=*) mapfile -t COMPREPLY < <(compgen -W 'table json' -- "${word#*=}") && return ;;
    --bus=*) mapfile -t COMPREPLY < <(compgen -W 'system session' -- "${word#*=}") && return ;;
    --file=*) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "${word#*=}") && return ;;
    --*=*) return ;;
    -*)
        words="$global"
        [ -z "$command" ] || words+=" ${own[$command]-}"
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
        [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace
        return
        ;;
    esac
    if [ -z "$command" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
        return
    fi
    [ "$positional" = 0 ] || return 0
    case $command in
    help) words=$commands ;;
    remove-server | demote-voter | transfer-leadership) words=$(__raftkvctl_listed members) ;;
    accept | reject) words=$(__raftkvctl_listed members --pending) ;;
    await | cancel) words=$(__raftkvctl_listed operations) ;;
    backup | check) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$current") && return ;;
    *) return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _raftkvctl raftkvctl
