package examples

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// The examples that no test can run are held to the contract by what they say:
// the topic, the session, the fields of an item, the properties, the codes.

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// contract is what a device may meet, as the AsyncAPI document has it.
type contract struct {
	fields, properties []string
	codes              string
}

func theContract(t *testing.T) contract {
	t.Helper()
	n := bridge.Notification{ID: 1, Seq: 1, User: "1", CreatedAt: time.Now(), ReportID: 1, StatusID: bridge.Approved, Data: json.RawMessage(`{}`)}
	var item map[string]any
	if err := json.Unmarshal(n.Item(), &item); err != nil {
		t.Fatal(err)
	}
	c := contract{properties: []string{"id", "seq", "kind", "epoch"}, codes: read(t, "../api/testdata/asyncapi.json")}
	for f := range item {
		c.fields = append(c.fields, f)
	}
	for _, p := range c.properties {
		if !strings.Contains(c.codes, `"`+p+`"`) {
			t.Fatalf("the AsyncAPI document knows no property %s", p)
		}
	}
	return c
}

func TestWrittenExamplesKeepToTheContract(t *testing.T) {
	t.Parallel()
	c := theContract(t)
	for name, tt := range map[string]struct {
		file       string
		says       []string
		fields     string // what it reads of an item
		properties string
	}{
		"Android": {
			file: "android/Notifications.kt",
			says: []string{`"users/$user/reports/status"`, "MqttQos.AT_LEAST_ONCE", "cleanStart(false)", "sessionExpiryInterval(7 * 24 * 3600)", ".password(fresh",
				"SEND_IF_SUBSCRIPTION_DOES_NOT_EXIST", "seq > last", "if (p.isRetain) latest = seq", "SESSION_TAKEN_OVER"},
			fields: `item\.(?:get\w+|has)\("(\w+)"\)`, properties: `name\.toString\(\) == "(\w+)"`,
		},
		"Swift": {
			file: "swift/Notifications.swift",
			says: []string{`"users/\(user)/reports/status"`, ".qos1", "cleanSession = false", "sessionExpiryInterval = 7 * 24 * 3600", ".password = fresh",
				".sendOnlyWhenSubscribeIsNew", "item.seq <= last", "if message.retained {\n            latest = item.seq", ".sessionTakenOver"},
			fields: `case (id|seq|kind|title|message)\b|= "(\w+_\w+)"`, properties: `userProperty\?\["(\w+)"\]`,
		},
		"Home Assistant": {
			file:   "home-assistant/configuration.yaml",
			says:   []string{`state_topic: "users/1/reports/status"`, "qos: 1", "MQTT protocol 5"},
			fields: `(?:value_json|payload_json)\.(\w+)`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := read(t, tt.file)
			for _, s := range tt.says {
				if !strings.Contains(text, s) {
					t.Errorf("it does not say %s", s)
				}
			}
			found := func(pattern string, of []string) {
				t.Helper()
				names := regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
				if len(names) == 0 {
					t.Errorf("nothing matches %s", pattern)
				}
				for _, m := range names {
					if n := strings.Join(m[1:], ""); !slices.Contains(of, n) {
						t.Errorf("%s is none of %v", n, of)
					}
				}
			}
			found(tt.fields, c.fields)
			if tt.properties != "" {
				found(tt.properties, c.properties)
			}
			for _, code := range regexp.MustCompile(`0x[0-9A-F]{2}`).FindAllString(text, -1) {
				if !strings.Contains(c.codes, code) {
					t.Errorf("the AsyncAPI document knows no code %s", code)
				}
			}
			if strings.Contains(text, "\t") {
				t.Error("it is indented with tabs")
			}
		})
	}
}

// TestTheNodeREDFlow reads the flow as Node-RED imports it.
func TestTheNodeREDFlow(t *testing.T) {
	t.Parallel()
	type node struct {
		ID, Type, Topic, Qos, Datatype, Broker, ProtocolVersion, SessionExpiry, ClientID, Func string
		Z                                                                                      string
		Cleansession, AutoUnsubscribe                                                          *bool
		Wires                                                                                  [][]string
		BirthTopic, CloseTopic, WillTopic                                                      *string
	}
	var nodes []node
	if err := json.Unmarshal([]byte(read(t, "node-red/flow.json")), &nodes); err != nil {
		t.Fatal(err)
	}
	byID := map[string]node{}
	for _, n := range nodes {
		if _, twice := byID[n.ID]; twice || n.ID == "" {
			t.Errorf("the id %q is not one node's", n.ID)
		}
		byID[n.ID] = n
	}
	inputs := 0
	for _, n := range nodes {
		for _, ids := range n.Wires {
			for _, id := range ids {
				if byID[id].Type == "" {
					t.Errorf("%s is wired to %s, which is not there", n.ID, id)
				}
			}
		}
		if n.Z != "" && byID[n.Z].Type != "tab" {
			t.Errorf("%s is on no tab", n.ID)
		}
		if n.Type == "function" && !strings.Contains(n.Func, "if (msg.retain) {\n    seen.latest") {
			t.Error("a retained message moves the last seq")
		}
		if n.Type != "mqtt in" {
			continue
		}
		inputs++
		b := byID[n.Broker]
		if _, everyone, ok := (bridge.Topics{}).Parse(n.Topic); !ok || everyone || n.Qos != "1" || n.Datatype != "json" {
			t.Errorf("the input %+v does not read one user's topic with QoS 1", n)
		}
		seconds, err := strconv.Atoi(b.SessionExpiry)
		if b.Type != "mqtt-broker" || b.ProtocolVersion != "5" || err != nil || seconds <= 0 || b.ClientID == "" {
			t.Errorf("the server %+v keeps no place", b)
		}
		if b.Cleansession == nil || *b.Cleansession || b.AutoUnsubscribe == nil || *b.AutoUnsubscribe {
			t.Errorf("the server %+v gives its place up", b)
		}
		for _, topic := range []*string{b.BirthTopic, b.CloseTopic, b.WillTopic} {
			if topic == nil || *topic != "" {
				t.Errorf("the server %+v publishes", b)
			}
		}
	}
	if inputs != 1 {
		t.Errorf("%d inputs, want 1", inputs)
	}
}
