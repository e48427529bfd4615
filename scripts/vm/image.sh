#!/bin/bash
# image.sh CACHE: the guest of `make vm-test`, from Debian's packages: systemd as PID 1, pure cgroup v2, AppArmor or
# SELinux (the kernel's command line chooses), Podman, and runc and crun to compare with. Nothing is done while CACHE is up to date.
#
# CACHE/root     the installed system: a chroot to build pyrunc in
# CACHE/disk.raw the same as a file system; CACHE/vmlinuz, CACHE/initrd
set -euo pipefail
suite=${VM_SUITE:-trixie}
here=$(dirname "$(readlink -f "$0")")
cache=$(mkdir -p "$1" && readlink -f "$1")
[ "$(id -u)" = 0 ] || { echo "vm: the image can only be built as root" >&2; exit 1; }

packages=(
	linux-image-amd64 systemd-sysv udev kmod dbus dbus-user-session libpam-systemd polkitd procps
	apparmor selinux-policy-default policycoreutils iproute2 nftables jq strace util-linux-extra
	python3 python3-venv python3-dev python3-pytest python3-cffi python3-mesonpy meson ninja-build
	python3-click python3-jsonschema python3-hypothesis gcc libc6-dev libseccomp2
	runc crun podman conmon netavark passt fuse-overlayfs catatonit uidmap busybox-static
)
key=$({ cat "$here/image.sh" "$here"/guest/*; echo "$suite"; } | sha256sum | cut -d' ' -f1)
[ "$(cat "$cache/key" 2>/dev/null)" = "$key" ] && exit 0
exec 9>"$cache/lock"
flock 9
[ "$(cat "$cache/key" 2>/dev/null)" = "$key" ] && exit 0

mirror=$(apt-get indextargets --format '$(CREATED_BY)|$(LABEL)|$(REPO_URI)' |
	awk -F'|' '$1 == "Packages" && $2 == "Debian" { print $3; exit }')
: "${mirror:?this machine has no Debian mirror in its sources}"
echo "vm: building a $suite guest from $mirror"
root=$cache/root
rm -f "$cache/key"
[ ! -e "$root" ] || rm -rf --one-file-system "$root"
list=$(IFS=,; echo "${packages[*]}")
# In namespaces of its own, so that nothing of it stays mounted.
unshare --mount --propagation private mmdebstrap --quiet --variant=minbase --mode=root --format=directory \
	--include="$list" --aptopt='Apt::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	"$suite" "$root" "deb $mirror $suite main"

# The guest's own files: a service that runs the job, and what an ordinary user needs.
install -m 755 "$here/guest/job.sh" "$root/usr/local/sbin/vm-job"
install -m 644 "$here/guest/vm-job.service" "$root/etc/systemd/system/vm-job.service"
ln -sf ../vm-job.service "$root/etc/systemd/system/multi-user.target.wants/vm-job.service"
echo vm >"$root/etc/hostname"
printf '127.0.0.1 localhost vm\n' >"$root/etc/hosts"
: >"$root/etc/fstab"
printf '%s\n' overlay loop fuse tun veth bridge bfq nf_tables nft_compat >"$root/etc/modules-load.d/vm.conf"
mkdir -p "$root/etc/systemd/system/user@.service.d" "$root/var/lib/systemd/linger" "$root/etc/systemd/journald.conf.d"
printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >"$root/etc/systemd/system/user@.service.d/delegate.conf"
printf '[Journal]\nStorage=volatile\n' >"$root/etc/systemd/journald.conf.d/vm.conf"
for unit in getty@tty1.service serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer \
	dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-pstore.service podman-auto-update.timer; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
chroot "$root" useradd --create-home --shell /bin/bash --uid 1000 tester
chroot "$root" sh -c 'grep -q ^tester: /etc/subuid || usermod --add-subuids 100000-165535 --add-subgids 100000-165535 tester'
: >"$root/var/lib/systemd/linger/tester"
mkdir -p "$root/project"

# A small initrd of busybox: the modules of the disk, then the disk. Debian's own takes a minute when emulated.
kernel=$(basename "$(echo "$root"/lib/modules/*)")
tree=$(mktemp -d)
mkdir -p "$tree"/{bin,dev,proc,root,modules}
cp "$root/bin/busybox" "$tree/bin/"
for module in virtio_pci virtio_blk ext4; do
	chroot "$root" modprobe --show-depends --set-version "$kernel" "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
	name=$(basename "$file")
	case $name in
	*.xz) xz -dc "$root$file" >"$tree/modules/${name%.xz}" ;;
	*) cp "$root$file" "$tree/modules/" ;;
	esac
	echo "${name%.xz}" >>"$tree/modules/order"
done
install -m 755 "$here/guest/initrd.sh" "$tree/init"
(cd "$tree" && find . | busybox cpio -o -H newc 2>/dev/null) >"$cache/initrd"
rm -rf "$tree"
cp "$root/boot/vmlinuz-$kernel" "$cache/vmlinuz"
sed -i 's/^SELINUX=.*/SELINUX=permissive/' "$root/etc/selinux/config"
chroot "$root" setfiles -F /etc/selinux/default/contexts/files/file_contexts / 2>/dev/null
rm -f "$cache/disk.raw"
truncate -s 8G "$cache/disk.raw"
mke2fs -q -t ext4 -E lazy_itable_init=0,lazy_journal_init=1,nodiscard -d "$root" "$cache/disk.raw"
echo "$key" >"$cache/key"
