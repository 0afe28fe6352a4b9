// Package netlab is a network of hosts on one machine whose links can be broken.
//
// Each host has a network namespace of its own with one TUN device. A [Lab] reads the
// packets that leave it and writes them to the device of the host they are for, or
// drops, delays or slows them as the link between the two says: each direction by
// itself. The kernel's own queueing disciplines are not needed, so a lab runs wherever
// namespaces and TUN devices are, also without root ([Enter]).
//
// Nothing of a lab has a name outside of its process: the namespaces, devices, mounts
// and servers in it end with the process, however that ends.
package netlab
