#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
echo "vm: up" >/dev/console
$b mount -t proc proc /proc
while read -r module; do $b insmod "/modules/$module"; done </modules/order
until [ -b /dev/vda ]; do $b sleep 0.1; done
$b mount -t ext4 -o noatime /dev/vda /root || $b poweroff -f
$b umount /proc
$b mount -o move /dev /root/dev
exec $b switch_root /root /sbin/init
