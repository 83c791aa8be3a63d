#!/bin/sh
# Installs the real servers that test/servers runs against, on Debian 12: nginx, haproxy, wrk and openssl from the machine's own suite, and
# Consul 1.8.7 from the suite before it (bullseye; the newer ones carry none), ZooKeeper 3.8, etcd 3.4 and NSD (a DNS server) from its own
# suite, these four unpacked into a directory of ours without installing. ZooKeeper needs a Java, which is installed where none is.
# Quick when everything is there. EVENKEEL_SERVERS names the directory; a relative one counts from the checkout.
set -eu

cd "$(dirname "$0")/../.."
servers=${EVENKEEL_SERVERS:-node_modules/.cache/evenkeel-servers}
suite=bullseye
export DEBIAN_FRONTEND=noninteractive

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

# Prints "address [keyring]" of every enabled package source of this machine, security suites left out, the ones of the
# machine's own release first. Reads both forms: deb822 paragraphs and one-line entries.
sources() {
  release=$(. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}")
  {
    for file in /etc/apt/sources.list.d/*.sources; do
      [ -f "$file" ] || continue
      awk '
        function flush(  i, n, list) {
          if (enabled && types ~ /(^| )deb( |$)/) {
            n = split(uris, list, " ")
            for (i = 1; i <= n; i++) print list[i], (key == "" ? "-" : key), suites
          }
          types = uris = suites = key = ""; enabled = 1; field = ""
        }
        BEGIN { enabled = 1 }
        /^[[:space:]]*$/ { flush(); next }
        /^#/ { next }
        /^[^[:space:]][^:]*:/ {
          field = tolower($0); sub(/:.*/, "", field)
          value = $0; sub(/^[^:]*:[[:space:]]*/, "", value)
          if (field == "types") types = value
          else if (field == "uris") uris = value
          else if (field == "suites") suites = value
          else if (field == "enabled" && tolower(value) ~ /^(no|false|off|0)/) enabled = 0
          else if (field == "signed-by" && value ~ /^\//) key = value
          next
        }
        field == "uris" { uris = uris " " $0 }
        field == "suites" { suites = suites " " $0 }
        END { flush() }
      ' "$file"
    done
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
      [ -f "$file" ] || continue
      awk '
        $1 == "deb" {
          line = $0; key = "-"
          sub(/^[[:space:]]*deb[[:space:]]+/, "", line); sub(/#.*/, "", line)
          if (line ~ /^\[/) {
            options = line; sub(/\].*/, "", options); sub(/^[^]]*\][[:space:]]*/, "", line)
            if (match(options, /signed-by=\/[^] ]*/)) key = substr(options, RSTART + 10, RLENGTH - 10)
          }
          split(line, word, /[[:space:]]+/)
          print word[1], key, word[2]
        }
      ' "$file"
    done
  } | awk -v release="$release" '
    { suites = $0; sub(/^[^ ]+ [^ ]+ */, "", suites) }
    suites ~ /security/ || $1 ~ /security/ { next }
    {
      own = 0; n = split(suites, list, /[[:space:]]+/)
      for (i = 1; i <= n; i++) if (release != "" && list[i] == release) own = 1
      print 1 - own, $1, $2
    }' | sort -s -k1,1n | awk '!seen[$2]++ { print $2, $3 }'
}

running() {
  [ -f "/run/$1.pid" ] && kill -0 "$(head -n1 "/run/$1.pid")" 2>/dev/null
}

# Installs what is missing of Debian's packages. Their services are not started: a policy file keeps Debian's scripts from it.
install_packages() {
  missing=
  for package in nginx haproxy wrk openssl; do
    PATH="$PATH:/usr/sbin" command -v "$package" >/dev/null 2>&1 || missing="$missing $package"
  done
  # promtool judges our exposition; it comes with Prometheus.
  command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
  command -v java >/dev/null 2>&1 || missing="$missing default-jre-headless"
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null 2>&1 || fail "missing:$missing; this machine has no apt-get, install them by hand"
  [ "$(id -u)" = 0 ] || fail "missing:$missing; run as root, or apt-get install$missing"
  before=
  for service in nginx haproxy; do running "$service" && before="$before $service "; done
  policy=/usr/sbin/policy-rc.d
  own_policy=
  if [ ! -e "$policy" ]; then
    own_policy=$policy
    trap 'rm -f "$own_policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  apt-get update -qq || fail "apt-get update failed; see above"
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing >/dev/null || fail "apt-get install$missing failed; see above"
  [ -z "$own_policy" ] || { rm -f "$own_policy"; trap - EXIT; }
  for service in nginx haproxy; do
    case "$before" in *" $service "*) continue ;; esac
    if running "$service"; then kill "$(head -n1 "/run/$service.pid")" 2>/dev/null || true; fi
  done
}

# Fetches Consul's package from the older suite of one source, in lists and caches of our own: the machine's stay untouched.
fetch_consul() {
  address=$1
  keyring=$2
  work=$servers/.apt
  rm -rf "$work"
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/state" "$work/parts"
  options=
  [ "$keyring" = - ] || options="[signed-by=$keyring] "
  echo "deb $options$address $suite main" >"$work/sources.list"
  base=$(cd "$work" && pwd)
  set -- -qq -o "Dir::Etc::sourcelist=$base/sources.list" -o "Dir::Etc::sourceparts=$base/parts" \
    -o "Dir::State=$base/state" -o "Dir::State::lists=$base/lists" -o "Dir::Cache=$base/cache" \
    -o "Dir::Etc::preferencesparts=$base/parts" -o "APT::Sandbox::User=" -o "Acquire::Retries=2" \
    -o "APT::Get::List-Cleanup=false" -o "Acquire::Languages=none"
  apt-get "$@" update >"$work/log" 2>&1 || return 1
  (cd "$work" && apt-get "$@" download consul >>log 2>&1) || return 1
  for package in "$work"/consul_*.deb; do
    [ -f "$package" ] || return 1
    dpkg -x "$package" "$work/root" || return 1
  done
  mv -f "$work/root/usr/bin/consul" "$servers/consul" || return 1
  rm -rf "$work"
}

install_consul() {
  if [ -x "$servers/consul" ] && "$servers/consul" version >/dev/null 2>&1; then return 0; fi
  { command -v apt-get && command -v dpkg; } >/dev/null 2>&1 ||
    fail "no apt-get here; put Consul's binary at $servers/consul or name it in EVENKEEL_CONSUL"
  mkdir -p "$servers"
  found=$(sources)
  [ -n "$found" ] || fail "no package source under /etc/apt"
  # Not a pipe: the loop must be able to end the script.
  while read -r address keyring; do
    if fetch_consul "$address" "$keyring"; then return 0; fi
  done <<LIST
$found
LIST
  [ -f "$servers/.apt/log" ] && tail -n 3 "$servers/.apt/log" >&2
  fail "Consul is not to be had: no package source of this machine carries the suite $suite any more"
}

# Unpacks packages of the machine's own suite into $servers/.unpacked; their scripts do not run, so no service starts and no user is made.
unpack() {
  work=$servers/.unpacked
  rm -rf "$work"
  mkdir -p "$work"
  apt-cache show "$1" >/dev/null 2>&1 || apt-get update -qq || fail "apt-get update failed; see above"
  (cd "$work" && apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=2 download "$@") ||
    fail "cannot download $*; see above"
  for package in "$work"/*.deb; do dpkg -x "$package" "$work/root"; done
}

install_zookeeper() {
  [ -f "$servers/zookeeper/zookeeper.jar" ] && return 0
  unpack libzookeeper-java libdropwizard-metrics-java libslf4j-java libsnappy-java
  mkdir -p "$servers/zookeeper"
  for jar in zookeeper-jute slf4j-api slf4j-simple metrics-core snappy-java zookeeper; do
    cp -L "$work/root/usr/share/java/$jar.jar" "$servers/zookeeper/" || fail "Debian's packages carry no $jar.jar"
  done
  rm -rf "$work"
}

install_etcd() {
  [ -x "$servers/etcd" ] && [ -x "$servers/etcdctl" ] && return 0
  unpack etcd-server etcd-client
  mv -f "$work/root/usr/bin/etcdctl" "$work/root/usr/bin/etcd" "$servers/" || fail "Debian's packages carry no etcd"
  rm -rf "$work"
}

# With the libraries it needs beyond a bare Debian.
install_nsd() {
  [ -x "$servers/nsd/usr/sbin/nsd" ] && return 0
  command -v nsd >/dev/null 2>&1 && return 0
  unpack nsd libprotobuf-c1 libfstrm0 libevent-2.1-7
  rm -rf "$servers/nsd"
  mv "$work/root" "$servers/nsd"
  rm -rf "$work"
}

install_packages
install_consul
install_zookeeper
install_etcd
install_nsd
"$servers/consul" version | head -n1
"$servers/etcd" --version | head -n1
echo "ZooKeeper in $servers/zookeeper"
