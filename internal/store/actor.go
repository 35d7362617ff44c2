package store

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// Actor is who changes something.
type Actor struct {
	// UID and User are what the program runs as.
	UID  uint32 `json:"uid"`
	User string `json:"user,omitempty"`
	// Login is who logged in and became that user, if the two differ and it is
	// known.
	Login *Login `json:"login,omitempty"`
}

// Login is a user behind another.
type Login struct {
	UID  uint32 `json:"uid"`
	User string `json:"user,omitempty"`
	// From tells how it is known: "session", the login that the kernel keeps for
	// audit and nobody can deny, or "sudo", which says so in the environment.
	From string `json:"from"`
}

// String is the person first: "alice as root".
func (a Actor) String() string {
	as := userText(a.UID, a.User)
	if a.Login == nil {
		return as
	}
	return userText(a.Login.UID, a.Login.User) + " as " + as
}

func userText(uid uint32, name string) string {
	if name == "" {
		return "uid " + strconv.FormatUint(uint64(uid), 10)
	}
	return name
}

// noLogin is the login of a process that no one logged in for (proc(5),
// /proc/pid/loginuid).
const noLogin = 1<<32 - 1

// ThisProcess is who runs this program.
func ThisProcess() Actor {
	session, _ := os.ReadFile("/proc/self/loginuid")
	return actor(uint32(os.Getuid()), string(session), os.Getenv("SUDO_UID"), userName)
}

// Process is who is behind another process that runs as a user. What its sudo may
// say is not asked: a process writes its environment itself.
func Process(pid int, uid uint32) Actor {
	session, _ := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", pid))
	return actor(uid, string(session), "", userName)
}

// actor believes the kernel first, and sudo where the kernel knows nothing.
func actor(uid uint32, session, sudo string, name func(uid uint32) string) Actor {
	a := Actor{UID: uid, User: name(uid)}
	for _, known := range []struct{ uid, from string }{{session, "session"}, {sudo, "sudo"}} {
		login, err := strconv.ParseUint(strings.TrimSpace(known.uid), 10, 32)
		if err != nil || login == noLogin {
			continue
		}
		if uint32(login) != uid {
			a.Login = &Login{UID: uint32(login), User: name(uint32(login)), From: known.from}
		}
		break
	}
	return a
}

// userName is empty if the user has none.
func userName(uid uint32) string {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return ""
	}
	return u.Username
}
