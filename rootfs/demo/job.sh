#!/bin/sh
# The demo's job: three things that need root. It runs twice, unchanged: where the launcher stands (an
# unprivileged container, where each must be refused) and in the privileged container of the microVM.
#   stdout: what a program reads, one line per fact or step:
#     fact NAME VALUE
#     step NAME worked|failed DETAIL
#   stderr: what a person reads.
# Whether a failure is a refusal is for the reader to judge, by its words. Exit status: 0 where every
# step ended in a verdict.
set -u
log=$(mktemp -p "${DEMO_SCRATCH:-/tmp}") || exit 1

fact() { printf 'fact %s %s\n' "$1" "$2"; }
status_field() { awk -v name="$1:" '$1 == name { print $2 }' /proc/self/status; }

fact kernel "$(uname -r)"
fact uid "$(id -u)"
fact capabilities "$(status_field CapEff)"
fact seccomp "$(status_field Seccomp)"
fact no-new-privileges "$(status_field NoNewPrivs)"

step() {
  name=$1; shift
  printf '  %s … ' "$name" >&2
  # Not as the condition of an if: in there, set -e of the step would mean nothing.
  "$@" > "$log" 2>&1
  if [ $? -eq 0 ]; then
    detail=$(tail -n 1 "$log"); echo "worked: $detail" >&2
    printf 'step %s worked %s\n' "$name" "$detail"
  else
    # Where it was tried does not matter; why it failed does.
    detail=$(sed "s|$scratch/||g; q" "$log")
    case $detail in
      *'not permitted'* | *'ermission denied'*) echo "refused: $detail" >&2 ;;
      *) echo "failed: $detail" >&2 ;;
    esac
    printf 'step %s failed %s\n' "$name" "$detail"
  fi
}

loop_mount() (
  set -e
  truncate -s 64M "$scratch/disk"
  mkfs.ext4 -q -F "$scratch/disk"
  mkdir -p "$scratch/mnt"
  mount -o loop "$scratch/disk" "$scratch/mnt"
  trap 'umount "$scratch/mnt"' EXIT
  echo 'written through a loop device' > "$scratch/mnt/file"
  findmnt -n -o SOURCE,FSTYPE,SIZE "$scratch/mnt"
)

network() (
  set -e
  ip link add demo0 type bridge
  ip link add demo-a type veth peer name demo-b
  ip link set demo-a master demo0
  ip address add 10.99.0.1/24 dev demo0
  ip link set demo0 up; ip link set demo-a up; ip link set demo-b up
  nft 'add table inet demo; add chain inet demo input { type filter hook input priority 0; };
       add rule inet demo input ip saddr 10.99.0.0/24 counter accept'
  rules=$(nft list chain inet demo input | grep -c counter)
  ports=$(ip -o link show master demo0 | wc -l)
  nft delete table inet demo; ip link delete demo0; ip link delete demo-a
  echo "bridge with $ports veth port, $rules nftables rule"
)

package() (
  set -e
  # A Debian to build in: this one under an overlay on a disk of its own, so that nothing here changes.
  truncate -s 256M "$scratch/chroot.disk"
  mkfs.ext4 -q -F "$scratch/chroot.disk"
  mkdir -p "$scratch/chroot.mnt" "$scratch/chroot"
  mount -o loop "$scratch/chroot.disk" "$scratch/chroot.mnt"
  trap 'umount "$scratch/chroot/proc" "$scratch/chroot" "$scratch/chroot.mnt" 2> /dev/null' EXIT
  mkdir "$scratch/chroot.mnt/upper" "$scratch/chroot.mnt/work"
  mount -t overlay -o "lowerdir=/,upperdir=$scratch/chroot.mnt/upper,workdir=$scratch/chroot.mnt/work" \
    overlay "$scratch/chroot"
  mount -t proc proc "$scratch/chroot/proc"
  chroot "$scratch/chroot" /bin/sh -e <<'INSIDE'
mkdir -p /build/demo/DEBIAN /build/demo/usr/bin
cat > /build/demo/DEBIAN/control <<'CONTROL'
Package: cofferdam-demo
Version: 1.0
Architecture: all
Maintainer: nobody <nobody@localhost>
Description: built in a chroot, in a privileged container, in a microVM
CONTROL
printf '#!/bin/sh\necho built, installed and run\n' > /build/demo/usr/bin/cofferdam-demo
chmod 755 /build/demo/usr/bin/cofferdam-demo
dpkg-deb --root-owner-group --build /build/demo /build > /dev/null
dpkg -i /build/cofferdam-demo_1.0_all.deb > /dev/null
echo "$(basename /build/*.deb) $(cofferdam-demo)"
INSIDE
)

scratch=$(mktemp -d -p "${DEMO_SCRATCH:-/tmp}") || exit 1
trap 'rm -rf "$scratch" "$log"' EXIT
step loop-mount loop_mount
step bridge-veth-nftables network
step package-in-chroot package
