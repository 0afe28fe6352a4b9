// Package netlab is a network of hosts on one machine whose links can be broken.
//
// Each host has a network namespace of its own with one TUN device. A [Lab] reads the
// packets that leave the device and writes them to the device of the destination, or it
// drops, delays or slows them. Each direction between two hosts is a [Link] of its own.
// A lab does not use the kernel's queueing disciplines, so that it runs wherever there are
// namespaces and TUN devices, also without root (see [Enter]).
//
// The namespaces, devices, mounts and servers of a lab end with its process, however that
// ends, because none of them has a name outside of it.
package netlab
