// Package edge contains what the listeners of REST and MQTT need to know about a request
// before they process it. It checks which browser origins may call, which proxies are
// trusted to report a client's address, and how often one address or user may call, and it
// selects the language of texts. The broker, the API and the program share it, so that REST
// and MQTT group addresses and count rates in the same way.
package edge
