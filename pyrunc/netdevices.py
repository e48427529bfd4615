"""linux.netDevices: moves network devices of the host into the container's network namespace.

config-linux.md, Network Devices. The kernel takes a device's addresses away when it changes its namespace:
they are read before and set again after. Once moved, a device is the container's, and delete leaves it alone.
"""

from __future__ import annotations

import _socket
import errno
import posix

from pyrunc.errors import Error
from pyrunc.rtnetlink import Netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.rtnetlink import Address
    from pyrunc.spec import Object, Spec

_CLONE_NEWNET = 0x40000000
_HINTS = {
    errno.EPERM: "moving a device needs CAP_NET_ADMIN in the host's network namespace",
    errno.ENODEV: "`ip link` lists the devices of the host",
    errno.EINVAL: "the kernel keeps devices such as lo in their namespace",
}


class _Device:
    """A device on its way. ``index``: in the container's namespace, 0 while it is not known to be there."""

    __slots__ = ("name", "index", "up", "addresses")

    def __init__(self, name: str, up: bool, addresses: list[Address]) -> None:
        self.name = name
        self.index = 0
        self.up = up
        self.addresses = addresses


class Moved:
    """The devices that were moved. Its sockets keep both namespaces alive until ``close``."""

    __slots__ = ("here", "there", "home", "sockets", "devices")

    def __init__(self, pid: int) -> None:
        """``pid``: a process in the container's network namespace."""
        self.devices: list[_Device] = []
        self.sockets: list[Netlink] = []
        self.home = _open("/proc/thread-self/ns/net")
        try:
            self.here = self._keep(Netlink())
            self.there = self._keep(_netlink_in(f"/proc/{pid}/ns/net", self.home))
        except BaseException:
            self.close()
            raise

    def _keep(self, socket: Netlink) -> Netlink:
        self.sockets.append(socket)
        return socket

    def move(self, item: Object, name: str) -> None:
        """One device, with its addresses; it is up afterwards. Raises Error."""
        wanted = item.text("name") or name
        try:
            index = _socket.if_nametoindex(name)
            device = _Device(name, self.here.is_up(index), self.here.addresses(index))
            before = self.there.links()
            if wanted in before.values():
                raise OSError(errno.EEXIST, "the name is taken")
            self.devices.append(device)  # the kernel moves it even when it then can't rename it
            self.here.move(index, self.there.namespace, wanted)
            device.index = _arrived(before, self.there.links(), wanted)
            _settle(self.there, device, True)
        except OSError as error:
            raise _refused(name, wanted, item, error.errno or 0) from None

    def restore(self) -> None:
        """Back to the host, as they were: create has failed. What can't be restored is left."""
        for device in reversed(self.devices):
            try:
                before = self.here.links()
                found = {name: index for index, name in self.there.links().items()}
                self.there.move(device.index or found[device.name], self.home, device.name)
                device.index = _arrived(before, self.here.links(), device.name)
                _settle(self.here, device, device.up)
            except (OSError, KeyError):
                continue
        self.devices = []

    def close(self) -> None:
        for socket in self.sockets:
            socket.close()
        posix.close(self.home)


def move_devices(spec: Spec, pid: int) -> Moved:
    """All of linux.netDevices into the network namespace of a process. Raises Error; then all are back."""
    moved = Moved(pid)
    try:
        devices = spec.linux.child("netDevices")
        for name in devices.data:
            moved.move(devices.child(name), name)
    except BaseException:
        moved.restore()
        moved.close()
        raise
    return moved


def _settle(netlink: Netlink, device: _Device, up: bool) -> None:
    """The addresses first: with them there, the kernel makes their routes when the device comes up."""
    for address in device.addresses:
        netlink.add_address(device.index, address)
    if up:
        netlink.set_up(device.index)


def _arrived(before: dict[int, str], after: dict[int, str], wanted: str) -> int:
    """The index that a device has got: that of its name, or of the new name where the kernel numbered it."""
    start, pattern, end = wanted.partition("%d")
    for index, name in after.items():
        if name == wanted:
            return index
        if pattern and before.get(index) != name and name.startswith(start) and name.endswith(end):
            return index
    raise OSError(errno.ENODEV, "the device has not arrived")


def _open(path: str) -> int:
    return posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)


def _netlink_in(path: str, home: int) -> Netlink:
    """A socket belongs to the namespace that it was made in: this thread goes there for a moment."""
    from pyrunc._native.load import checked, clone

    lib = clone().lib
    there = _open(path)
    try:
        checked(lib.pyrunc_setns(there, _CLONE_NEWNET), "setns", "linux.netDevices", path)
        try:
            return Netlink(there)
        finally:
            checked(lib.pyrunc_setns(home, _CLONE_NEWNET), "setns", "linux.netDevices")
    except BaseException:
        posix.close(there)
        raise


def _refused(name: str, wanted: str, item: Object, number: int) -> Error:
    path = item.path
    message = f"network device {name} can't be moved into the container"
    hint = _HINTS.get(number, "")
    if number == errno.EEXIST:
        path = item.at("name")
        message += f": it has a device named {wanted}"
        hint = "set name to another one; with %d in it, the kernel takes a free number"
    return Error(
        message,
        code="net-device",
        step="network device",
        path=path,
        syscall="sendmsg",
        subject=name,
        errno=number,
        hint=hint,
    )
