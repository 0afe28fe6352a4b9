// Package disk opens Pebble for the Raft logs and for the state, both in the same way:
// with one named format version, with the same errors for a directory that is in use or
// was written by a newer version, and with one path for every disk failure.
//
// That path is [Options].Fatal. A replica must never go on after a failed write or a
// wrong read. If the error were returned, a caller might retry, and a retried fsync
// reports success for data that the kernel has dropped. So Fatal is called with a
// [Class], which is also the exit code, and ends the process.
//
// The one exception is a disk that is full during a flush or a compaction. Pebble
// retries, nothing is lost, and [Events].BackgroundError lets the node refuse writes
// until there is room again. If the WAL cannot be written because the disk is full, that
// is fatal.
package disk
