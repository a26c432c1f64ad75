// Follows a table over WebSocket, writes to it, and goes on after a cut without missing a change.
//
//	resolvespec dev examples/flights
//	go run ./websocket http://127.0.0.1:8080
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/gorilla/websocket"
)

var service = "http://127.0.0.1:8080"

// Message is whatever is said, in either direction.
type Message map[string]any

// Session is one connection: requests are answered by their id, notifications come one after the other.
type Session struct {
	socket  *websocket.Conn
	answers chan Message
	told    chan Message
	next    int
}

// Open connects; with a session's id, its subscriptions go on.
func Open(session string) (*Session, error) {
	url := strings.Replace(service, "http", "ws", 1) + "/ws"
	if session != "" {
		url += "?session=" + session
	}
	socket, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		return nil, err
	}
	self := &Session{socket: socket, answers: make(chan Message, 1), told: make(chan Message, 1000)}
	go self.listen()
	return self, nil
}

// Ask says something and returns the data of its answer. One request waits at a time here.
func (s *Session) Ask(message Message) (map[string]any, error) {
	s.next++
	message["id"], message["schema"], message["entity"] = strconv.Itoa(s.next), "main", "airlines"
	if err := s.socket.WriteJSON(message); err != nil {
		return nil, err
	}
	answer, open := <-s.answers
	if !open {
		return nil, fmt.Errorf("the connection was lost")
	}
	if answer["success"] != true {
		return nil, fmt.Errorf("%v", answer["error"])
	}
	data, _ := answer["data"].(map[string]any)
	return data, nil
}

func (s *Session) listen() {
	defer close(s.answers)
	defer close(s.told)
	for {
		message := Message{}
		if err := s.socket.ReadJSON(&message); err != nil {
			return
		}
		if message["type"] == "response" {
			s.answers <- message
		} else {
			s.told <- message
		}
	}
}

// Follow returns the next notification of an operation. What was told shortly before a cut may come again, so that one looks
// at what it says and not at how often.
func (s *Session) Follow(operation string) (map[string]any, error) {
	for told := range s.told {
		if told["operation"] == operation {
			return told["data"].(map[string]any), nil
		}
	}
	return nil, fmt.Errorf("the connection was lost")
}

// rename writes as another program does, by the other style of the same API.
func rename(name string) error {
	row, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPatch, service+"/rest/main/airlines/GO", bytes.NewReader(row))
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
	session, err := Open("")
	if err != nil {
		return err
	}
	begun, err := session.Ask(Message{"type": "subscription", "operation": "subscribe"})
	if err != nil {
		return err
	}
	fmt.Println("subscribed")
	row := map[string]string{"carrier": "GO", "name": "Gopher Air"}
	if _, err = session.Ask(Message{"type": "request", "operation": "create", "data": row}); err != nil {
		return err
	}
	data, err := session.Follow("create")
	if err != nil {
		return err
	}
	fmt.Println("told: create", data["carrier"], data["name"])

	session.socket.Close()
	fmt.Println("cut")
	if err = rename("Gopher Airways"); err != nil {
		return err
	}

	if session, err = Open(begun["session"].(string)); err != nil {
		return err
	}
	restored := <-session.told
	if restored["error"] != nil {
		return fmt.Errorf("the session is gone: %v", restored["error"])
	}
	fmt.Println("restored", len(restored["restored"].([]any)))
	if data, err = session.Follow("update"); err != nil {
		return err
	}
	fmt.Println("missed: update", data["carrier"], data["name"])

	if _, err = session.Ask(Message{"type": "request", "operation": "delete", "record_id": "GO"}); err != nil {
		return err
	}
	if data, err = session.Follow("delete"); err != nil {
		return err
	}
	fmt.Println("told: delete", data["carrier"])
	return session.socket.Close()
}

func main() {
	if len(os.Args) > 1 {
		service = os.Args[1]
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
