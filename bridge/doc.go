// Package bridge is the domain and the delivery engine of falconbridge.
//
// One sentence holds the design: the database is the log, a device is a cursor
// into it, everything else is a wake-up. A notification is a row with a gapless
// per-user [Seq]; a persistent device is a row with an acknowledged [Seq];
// delivering is reading the rows after the cursor and writing as many as the
// device's window allows. Live delivery, catch-up after a crash, a device that
// changes node and a device that reads slowly are one code path: the pump.
//
// The package imports the standard library only. What it needs from outside is
// stated as small interfaces beside their callers: [Log], [History], [Reports],
// [Sessions], [Feed], [Bus] and [Link].
package bridge
