#!/usr/bin/env bash
# licenses.sh prints THIRD_PARTY_LICENSES.md: every library of others that millrace is built
# or tested with, and its licence. It fails on a licence that is unknown or not allowed.
set -euo pipefail
cd "$(dirname "$0")/.."

# MPL-2.0 covers files: a change to such a library must be published, but not our code.
allowed=Apache-2.0,BSD-2-Clause,BSD-3-Clause,ISC,MIT,MPL-2.0

# The list is that of the released binary, whichever machine prints it.
export GOOS=linux GOARCH=amd64 CGO_ENABLED=0

# go run would look up the newest version of the tool first, and fail where it is not served.
licenses=(go tool -modfile=tools/go.mod go-licenses)
template=$(mktemp) messages=$(mktemp)
trap 'rm -f "$template" "$messages"' EXIT
cat >"$template" <<'END'
{{range .}}{{.LicensePath}}	{{.Name}}	{{.Version}}	{{.LicenseName}}
{{end}}
END

# quiet runs a command and shows its messages only if it fails, and not its warnings: there is
# one for each assembler file, and one for each licence whose address on the web is unknown.
quiet() { "$@" 2>"$messages" || { grep -v -e '^W' -e '^/' "$messages" >&2; exit 1; }; }

# list prints a line for each licence file of the libraries that the packages need.
list() { quiet "${licenses[@]}" report --ignore=millrace --template="$template" "$@" | sed '/^$/d' | LC_ALL=C sort -t $'\t' -k2; }

table() { printf '| library | version | licence |\n|---|---|---|\n'; awk -F '\t' '{ printf "| %s | %s | %s |\n", $2, $3, $4 }'; }

quiet "${licenses[@]}" check --ignore=millrace --allowed_licenses="$allowed" --include_tests ./... >&2

linked=$(list ./cmd/millrace)
cat <<'END'
# Libraries of others, and their licences

Written by `make licenses` with go-licenses, which reads the licence file of each library;
`make check` compares. To collect the texts for a distribution of the binary:
`go tool -modfile=tools/go.mod go-licenses save ./cmd/millrace --save_path=DIR`.

## In the binary `millrace`

Beside these, the standard library of Go, BSD-3-Clause.

END
table <<<"$linked"
printf '\n## In tests only\n\n'
list --include_tests ./... | awk -F '\t' 'NR == FNR { linked[$1]; next } !($1 in linked)' <(echo "$linked") - | table
