package netlab

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const (
	tunPath   = "/dev/net/tun"
	tunDevice = "lab0"
	// mtu is larger than Ethernet's, because each packet costs two system calls.
	mtu = 9000
	// tunQueue bounds the packets that wait in a device for the lab. The kernel drops
	// further ones, and TCP sends them again.
	tunQueue = 4096
)

// openTUN creates the TUN device of the calling thread's network namespace with these
// addresses, and brings up the loopback device.
func openTUN(addrs ...netip.Addr) (*os.File, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("netlab: open %s: %w", tunPath, err)
	}
	req, err := unix.NewIfreq(tunDevice)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err == nil {
		err = configure(addrs)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("netlab: set up %s: %w", tunDevice, err)
	}
	return os.NewFile(uintptr(fd), tunPath), nil
}

// configure gives the TUN device its addresses, and brings up it and the loopback device.
func configure(addrs []netip.Addr) error {
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(sock)
	set := func(device string, request uint, fill func(*unix.Ifreq) error) error {
		req, err := unix.NewIfreq(device)
		if err == nil {
			err = fill(req)
		}
		if err == nil {
			err = unix.IoctlIfreq(sock, request, req)
		}
		return err
	}
	up := func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }
	if err := set("lo", unix.SIOCSIFFLAGS, up); err != nil {
		return err
	}
	for i, a := range addrs {
		device := tunDevice
		if i > 0 {
			device = fmt.Sprintf("%s:%d", tunDevice, i)
		}
		v4 := a.As4()
		if err := set(device, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(v4[:]) }); err != nil {
			return err
		}
		if err := set(device, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }); err != nil {
			return err
		}
	}
	if err := set(tunDevice, unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(mtu); return nil }); err != nil {
		return err
	}
	if err := set(tunDevice, unix.SIOCSIFTXQLEN, func(r *unix.Ifreq) error { r.SetUint32(tunQueue); return nil }); err != nil {
		return err
	}
	return set(tunDevice, unix.SIOCSIFFLAGS, up)
}
