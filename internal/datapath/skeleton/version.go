package skeleton

import (
	"crypto/sha256"
	"encoding/hex"
)

// Version names the compiled objects of which a port's programs consist.
func Version() string {
	sum := sha256.New()
	sum.Write(_SkeletonBytes)
	sum.Write(_PortBytes)
	return hex.EncodeToString(sum.Sum(nil)[:6])
}
