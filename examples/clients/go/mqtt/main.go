// Follows a table over MQTT 3.1.1, writes to it, and gets from the broker what it missed during a cut.
//
//	resolvespec dev examples/flights
//	go run ./mqtt mqtt://127.0.0.1:1883 http://127.0.0.1:8080
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

var (
	broker  = "mqtt://127.0.0.1:1883"
	service = "http://127.0.0.1:8080"
)

const (
	// The broker keeps a session by this name, which is also where the client's topics are.
	clientID = "example-go"
	topics   = "spec/" + clientID
	patience = 20 * time.Second
)

// Message is whatever is said, in either direction.
type Message map[string]any

// Session is one connection: one request at a time, and notifications one after the other.
type Session struct {
	client  mqtt.Client
	socket  net.Conn
	answers chan Message
	told    chan Message
	Present bool
}

// Open connects. Without "clean session", the broker keeps what comes until the client is there again.
func Open() (*Session, error) {
	self := &Session{answers: make(chan Message, 10), told: make(chan Message, 1000)}
	options := mqtt.NewClientOptions().AddBroker(strings.Replace(broker, "mqtt:", "tcp:", 1))
	options.SetClientID(clientID).SetCleanSession(false).SetAutoReconnect(false).SetProtocolVersion(4)
	options.SetDefaultPublishHandler(self.hear)
	options.SetCustomOpenConnectionFn(func(address *url.URL, options mqtt.ClientOptions) (net.Conn, error) {
		socket, err := net.DialTimeout("tcp", address.Host, options.ConnectTimeout)
		self.socket = socket
		return socket, err
	})
	self.client = mqtt.NewClient(options)
	connected := self.client.Connect().(*mqtt.ConnectToken)
	if err := done(connected); err != nil {
		return nil, err
	}
	self.Present = connected.SessionPresent()
	wanted := map[string]byte{topics + "/response": 1, topics + "/notify/+": 1}
	return self, done(self.client.SubscribeMultiple(wanted, nil))
}

func done(token mqtt.Token) error {
	if !token.WaitTimeout(patience) {
		return fmt.Errorf("the broker does not answer")
	}
	return token.Error()
}

func (s *Session) hear(_ mqtt.Client, published mqtt.Message) {
	message := Message{}
	if err := json.Unmarshal(published.Payload(), &message); err != nil {
		log.Printf("%s: %v", published.Topic(), err)
		return
	}
	if published.Topic() == topics+"/response" {
		s.answers <- message
	} else {
		s.told <- message
	}
}

// Ask says something and returns the data of its answer.
func (s *Session) Ask(message Message) (map[string]any, error) {
	// Ids are the client's and must not come again: a request with one that was used gets the answer of that time.
	id := fmt.Sprint(time.Now().UnixNano())
	message["id"], message["schema"], message["entity"] = id, "main", "airlines"
	text, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	if err = done(s.client.Publish(topics+"/request", 1, false, text)); err != nil {
		return nil, err
	}
	for late := time.After(patience); ; {
		select {
		case answer := <-s.answers:
			if answer["id"] != id {
				continue
			}
			if answer["success"] != true {
				return nil, fmt.Errorf("%v", answer["error"])
			}
			data, _ := answer["data"].(map[string]any)
			return data, nil
		case <-late:
			return nil, fmt.Errorf("the service does not answer")
		}
	}
}

// Show prints the next notification of an operation. What was told shortly before a cut may come again, so that one looks at
// what it says and not at how often.
func (s *Session) Show(word, operation string) error {
	for late := time.After(patience); ; {
		select {
		case told := <-s.told:
			if told["operation"] != operation {
				continue
			}
			data := told["data"].(map[string]any)
			name, _ := data["name"].(string)
			fmt.Println(strings.TrimSpace(fmt.Sprint(word, ": ", operation, " ", data["carrier"], " ", name)))
			return nil
		case <-late:
			return fmt.Errorf("nothing is told")
		}
	}
}

// rename writes as another program does, over HTTP.
func rename(name string) error {
	row, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPatch, service+"/rest/main/airlines/MG", bytes.NewReader(row))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("the write failed: %s", text)
	}
	return nil
}

func run() error {
	session, err := Open()
	if err != nil {
		return err
	}
	begun, err := session.Ask(Message{"type": "subscription", "operation": "subscribe"})
	if err != nil {
		return err
	}
	id := begun["subscription_id"].(string)
	fmt.Println("subscribed, told at", strings.Replace(begun["notify_topic"].(string), id, "…", 1))
	row := map[string]string{"carrier": "MG", "name": "Gopher Air"}
	if _, err = session.Ask(Message{"type": "request", "operation": "create", "data": row}); err != nil {
		return err
	}
	if err = session.Show("told", "create"); err != nil {
		return err
	}

	// Away without a word, as a client is whose network is gone.
	session.socket.Close()
	fmt.Println("cut")
	if err = rename("Gopher Airways"); err != nil {
		return err
	}

	if session, err = Open(); err != nil {
		return err
	}
	if session.Present {
		fmt.Println("the broker has kept the session")
	} else {
		fmt.Println("the broker has forgotten the session")
	}
	if err = session.Show("missed", "update"); err != nil {
		return err
	}
	if _, err = session.Ask(Message{"type": "request", "operation": "delete", "record_id": "MG"}); err != nil {
		return err
	}
	if err = session.Show("told", "delete"); err != nil {
		return err
	}
	// A subscription over MQTT lasts until someone ends it.
	if _, err = session.Ask(Message{"type": "subscription", "operation": "unsubscribe", "subscription_id": id}); err != nil {
		return err
	}
	session.client.Disconnect(250)
	return nil
}

func main() {
	if len(os.Args) > 1 {
		broker = os.Args[1]
	}
	if len(os.Args) > 2 {
		service = os.Args[2]
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
