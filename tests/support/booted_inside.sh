#!/bin/bash
# The way from a prepared root to a systemd of its own: run by tests/support/booted.py, never by hand.
#
#   booted_inside.sh join ROOT CGROUP…   enters the cgroups, then fresh namespaces
#   booted_inside.sh boot ROOT           inside them: mounts what a machine has, makes ROOT the root, becomes systemd
set -euo pipefail

join() {
  local root=$1 group
  shift
  for group in "$@"; do
    echo $$ >"$group/cgroup.procs"
  done
  exec unshare --mount --uts --ipc --net --pid --cgroup --fork --kill-child=SIGKILL --propagation private \
    bash "${BASH_SOURCE[0]}" boot "$root"
}

boot() {
  local root=$1 path
  cd "$root"
  ip link set lo up
  mount -t proc -o nosuid,nodev,noexec proc proc
  for path in proc/sys proc/sysrq-trigger; do
    # What is set there is the host's.
    [[ ! -e $path ]] || { mount --bind "$path" "$path" && mount -o remount,bind,ro "$path"; }
  done
  mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
  mount_cgroups
  mount -t tmpfs -o mode=755,size=4m dev dev
  make_devices
  mount -t tmpfs -o mode=755,size=64m run run
  mount -t tmpfs -o mode=1777,size=256m tmp tmp
  pivot_root . .
  umount --lazy .
  cd /
  # As on a machine that systemd has set up itself: it mounts a unit's credentials from a namespace of their own.
  mount --make-rshared /
  # Not for a guest: loading modules, raw ports, the clock, the kernel's log, rebooting.
  exec setpriv --bounding-set -sys_module,-sys_rawio,-sys_time,-sys_boot,-syslog \
    env -i container=quantum-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    /lib/systemd/systemd --log-target=journal --show-status=no
}

mount_cgroups() {
  local controller
  if [[ $(stat --file-system --format=%T /sys/fs/cgroup) == cgroup2fs ]]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    return
  fi
  mount -t tmpfs -o mode=755,size=1m cgroup sys/fs/cgroup
  for controller in memory cpu cpuacct pids blkio freezer devices cpuset; do
    [[ -d /sys/fs/cgroup/$controller ]] || continue
    mkdir "sys/fs/cgroup/$controller"
    mount -t cgroup -o "$controller" cgroup "sys/fs/cgroup/$controller"
  done
  mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
  mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
  mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
}

make_devices() {
  local name
  for name in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=: read -r name major minor <<<"$name"
    mknod -m 666 "dev/$name" c "$major" "$minor"
  done
  mkdir dev/pts dev/shm dev/mqueue
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  ln -s /proc/self/fd/0 dev/stdin
  ln -s /proc/self/fd/1 dev/stdout
  ln -s /proc/self/fd/2 dev/stderr
  mount -t tmpfs -o mode=1777 shm dev/shm
  mount -t mqueue mqueue dev/mqueue
  : >dev/console
}

"$@"
