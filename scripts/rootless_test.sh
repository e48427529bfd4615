#!/bin/sh
# tests/rootless as an ordinary user: the caller, or as root a user that is made for it and removed after.
set -eu
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
if [ "$(id -u)" != 0 ]; then
	exec "$python" -m pytest -q tests/rootless
fi
name=pyrunc-rootless-$$
useradd --create-home "$name"
home=$(getent passwd "$name" | cut -d: -f6)
trap 'userdel --remove "$name" 2>/dev/null || userdel "$name"' EXIT
grep -q "^$name:" /etc/subuid || usermod --add-subuids 3000000-3065535 --add-subgids 3000000-3065535 "$name"
# What is below root's home a user can't read: he gets a copy.
cp -a .venv "$home/venv"
cp -a tests pyproject.toml "$home/"
chown -R "$name" "$home"
setpriv --reuid "$name" --regid "$name" --init-groups env -i HOME="$home" USER="$name" PATH="$PATH" \
	XDG_RUNTIME_DIR="$home" OCI_RUNTIME="$home/venv/bin/pyrunc" TMPDIR="$home" \
	sh -c 'cd "$HOME" && exec venv/bin/python -m pytest -q -p no:cacheprovider tests/rootless'
