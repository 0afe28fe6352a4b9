#!/usr/bin/env bash
# Builds the newest Redis that Debian has the source of and prints the path of its
# redis-server: the second oracle of the differential tester, which knows the stream
# commands that redis-server 7.0 does not.
#
#   test/compat/redis86.sh            build if need be, print the path
#
# The source is Debian's package `redis` of the suite `experimental`, from the mirror
# that this machine's own apt uses: no address is written here. Everything is kept in
# REDIS86_DIR (default ~/.cache/millrace/redis86), which may be thrown away. Nothing of
# the system's apt is changed; its lists and cache are not used either.
#
# The build takes about four minutes. Modules and TLS are left out.
set -euo pipefail

dir=${REDIS86_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/millrace/redis86}
server=$dir/redis-server

if [ -x "$server" ]; then
    echo "$server"
    exit 0
fi

mkdir -p "$dir"
exec 9> "$dir/lock"
flock 9 # two runs at once would build in one another's tree
if [ -x "$server" ]; then
    echo "$server"
    exit 0
fi

# mirror prints the archive that the machine's apt takes the Debian packages from, and
# the keyring that it trusts for it, if it names one: deb822 files first, then one-line
# files. Files that apt itself does not read (other suffixes) are not read here.
mirror() {
    local f
    for f in /etc/apt/sources.list.d/*.sources; do
        [ -r "$f" ] || continue
        awk '
            function done() { if (uri != "" && suites !~ /security/) { print uri, key; exit } }
            /^[[:space:]]*$/ { done(); uri = suites = key = "" ; next }
            tolower($1) == "uris:" && $2 ~ /debian\/?$/ { uri = $2 }
            tolower($1) == "suites:" { suites = $0 }
            tolower($1) == "signed-by:" { key = $2 }
            END { done() }' "$f"
    done
    for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -r "$f" ] || continue
        awk '$1 == "deb" {
            uri = ""; key = ""
            for (i = 2; i <= NF; i++) {
                if (match($i, /signed-by=[^],]*/)) key = substr($i, RSTART + 10, RLENGTH - 10)
                if (uri == "" && $i ~ /^[a-z+]+:.*debian\/?$/) uri = $i
            }
            if (uri != "") print uri, key
        }' "$f"
    done
}

read -r uri key < <(mirror | head -n 1) || {
    echo "redis86: no Debian archive in this machine's apt configuration" >&2
    exit 1
}
key=${key:-/usr/share/keyrings/debian-archive-keyring.gpg}

mkdir -p "$dir/apt/state/lists/partial" "$dir/apt/cache/archives/partial"
echo "deb-src [signed-by=$key] $uri experimental main" > "$dir/apt/sources.list"
apt=(apt-get -q
    -o "Dir::Etc::SourceList=$dir/apt/sources.list"
    -o "Dir::Etc::SourceParts=/dev/null"
    -o "Dir::State=$dir/apt/state"
    -o "Dir::Cache=$dir/apt/cache"
    -o "APT::Sandbox::User=root")

{
    "${apt[@]}" update
    rm -rf "$dir/src"
    mkdir "$dir/src"
    cd "$dir/src"
    "${apt[@]}" source --download-only redis
    dpkg-source -x ./*.dsc tree
    cd tree
    nice -n 10 make -j2 BUILD_WITH_MODULES=no BUILD_TLS=no MALLOC=libc redis-server -C src
    cp src/redis-server "$dir/redis-server.new"
    "$dir/redis-server.new" --version
    mv "$dir/redis-server.new" "$server"
} >&2

echo "$server"
