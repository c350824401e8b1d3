#!/bin/sh
# Checks this bundle and installs it on a machine without a network: the runner with Ray below PREFIX, and the images into Docker.
#   ./install.sh [--check] [--prefix /opt/runner] [--no-images]      needs python3 >= 3.10; as root unless PREFIX is yours
set -eu
cd "$(dirname "$0")"
prefix=/opt/runner images=yes check=no
while [ $# -gt 0 ]; do
    case $1 in
    --check) check=yes ;;
    --no-images) images=no ;;
    --prefix) prefix=$2 && shift ;;
    *) sed -n 2,3p "$0" && exit 2 ;;
    esac
    shift
done

if ! sha256sum --check --quiet SHA256SUMS; then
    echo 'install.sh: the bundle is not what was made; copy it again' >&2
    exit 1
fi
echo 'install.sh: all files are as they were made'
[ "$check" = no ] || exit 0

python=${PYTHON:-python3}
want=$(cat PYTHON)
have=$($python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "$have" != "$want" ]; then
    echo "install.sh: the wheels are for Python $want, and $python is $have: name another one, PYTHON=/path/to/python$want ./install.sh" >&2
    exit 1
fi
"$python" -m venv --without-pip "$prefix"
"$prefix/bin/python" "$(echo wheels/pip-*.whl)/pip" install --no-index --find-links wheels --disable-pip-version-check --quiet 'runner[ray]'
echo "install.sh: $("$prefix/bin/runner" --version) in $prefix; put $prefix/bin on the path"
if [ "$images" = yes ]; then
    for image in images/*.tar; do
        [ ! -e "$image" ] || docker load --input "$image"
    done
fi
