#!/bin/sh
# Leaves of the extracted packages what one emulator needs, in the tree $1: a shell and its tools, the
# emulator, the libraries that these load, the microvm machine's firmware, and the licences' texts.
set -eu
tree=$1
programs='/bin/sh /usr/bin/env /bin/cat /bin/ls /usr/bin/id /bin/uname /usr/bin/qemu-system-x86_64'
firmware='bios-microvm.bin qboot.rom linuxboot_dma.bin pvh.bin'

keep=$(mktemp)
trap 'rm -f "$keep"' EXIT
for program in $programs; do
  echo "$program"
  chroot "$tree" /usr/bin/env LD_TRACE_LOADED_OBJECTS=1 "$program" |
    grep -o '/[^ ]*\.so[^ ]*' || true
done | sort -u > "$keep.named"
# Names of libraries are links: what they point at stays too.
while read -r path; do
  echo "$path"
  chroot "$tree" /bin/readlink -f "$path"
done < "$keep.named" | sort -u > "$keep"
for file in $firmware; do echo "/usr/share/qemu/$file"; done >> "$keep"
# TCG itself and what speaks fw_cfg to it may be modules.
(cd "$tree" && find usr/lib/x86_64-linux-gnu/qemu -name 'accel-tcg-x86_64.so' -printf '/%p\n' 2> /dev/null) >> "$keep" || true
rm -f "$keep.named"

(cd "$tree" && find . -xdev ! -type d -printf '/%P\n') | while read -r path; do
  case $path in
    /usr/share/doc/*/copyright | /etc/os-release | /usr/lib/os-release | /bin/dash) ;;
    # mmdebstrap's own, which it removes itself; and what is mounted while this runs.
    /etc/apt/* | /var/* | /dev/* | /proc/* | /sys/* | /tmp/*) ;;
    *) grep -qxF "$path" "$keep" || rm "$tree$path" ;;
  esac
done
find "$tree/usr" "$tree/etc" -xdev -mindepth 1 -type d -empty -delete
