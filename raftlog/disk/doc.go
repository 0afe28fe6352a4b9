// Package disk opens Pebble the one way Millrace uses it, for the Raft logs and
// for the state alike: one named format version, one way to tell that a directory
// is in use or was written by a newer version, and one road on which every disk
// failure leaves.
//
// That road is [Options].Fatal. A replica must never go on after a failed write or
// a wrong read: an error handed up might be retried, and a retried fsync reports
// success for data the kernel has dropped. So Fatal gets a [Class], which is also
// an exit code, and does not come back.
//
// A full disk met by a flush or a compaction is the one exception: Pebble retries
// it, nothing is lost, and [Events].BackgroundError lets the node refuse writes
// until there is room. A full disk met by the log itself is fatal.
package disk
