package watermill

import (
	"fmt"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"carryon/domain"
)

// Codec turns entries into bytes and back.
type Codec interface {
	Encode(e *domain.Entry) ([]byte, error)
	Decode(data []byte) (*domain.Entry, error)
}

// What a message's metadata names.
const (
	keyShard    = "shard"
	keyIndex    = "index"
	keyID       = "id"
	keyPrevious = "previous_id"
)

// newMessage makes a message of an entry: the metadata say which one it is, the payload holds it, when there is a
// codec and it is not too large. A batch is the request that all that follows from it belongs to, so its id is the correlation id.
func newMessage(e *domain.Entry, codec Codec, largest int) (*message.Message, error) {
	var payload []byte
	if codec != nil {
		var err error
		if payload, err = codec.Encode(e); err != nil {
			return nil, err
		}
		if len(payload) > largest {
			payload = nil
		}
	}
	msg := message.NewMessage(e.ID.String(), payload)
	msg.Metadata.Set(keyShard, strconv.Itoa(e.Shard))
	msg.Metadata.Set(keyIndex, strconv.FormatUint(e.Index, 10))
	msg.Metadata.Set(keyID, e.ID.String())
	msg.Metadata.Set(keyPrevious, e.PreviousID.String())
	middleware.SetCorrelationID(e.ID.String(), msg)
	return msg, nil
}

// hint is what a message's metadata say.
type hint struct {
	shard int
	index uint64
	id    domain.BatchID
}

func readHint(msg *message.Message) (hint, error) {
	shard, err := strconv.Atoi(msg.Metadata.Get(keyShard))
	if err != nil || shard < 0 {
		return hint{}, fmt.Errorf("message %s: shard %q is not a number", msg.UUID, msg.Metadata.Get(keyShard))
	}
	index, err := strconv.ParseUint(msg.Metadata.Get(keyIndex), 10, 64)
	if err != nil || index == 0 {
		return hint{}, fmt.Errorf("message %s: index %q is not a positive number", msg.UUID, msg.Metadata.Get(keyIndex))
	}
	id, err := domain.ParseBatchID(msg.Metadata.Get(keyID))
	if err != nil {
		return hint{}, fmt.Errorf("message %s: %w", msg.UUID, err)
	}
	return hint{shard: shard, index: index, id: id}, nil
}

// matches tells whether an entry is the one that the metadata name.
func (h hint) matches(e *domain.Entry) bool {
	return e.Shard == h.shard && e.Index == h.index && e.ID == h.id
}
