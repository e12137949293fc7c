// Package delivery is the engine that sends notifications to devices.
//
// The [Hub] knows this node's connections. A [Conn] is one of them: it has a pump
// for each topic its device subscribed to. A pump reads the log after its position
// and sends as many notifications as the device's window allows, so live delivery,
// catch-up after a crash, a device that changes node and a device that reads slowly
// are one code path. Acknowledgements move the device's cursor in memory, and a
// flusher writes cursors to the database in batches.
//
// The package imports the standard library and the domain only. What it needs from
// outside is stated as small interfaces: [Log], [States], [Sessions], [Feed],
// [Cluster], [Pruner] and [Link].
package delivery
