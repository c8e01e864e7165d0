package vault

import (
	"container/list"
	"sync"
)

// cache keeps the keys used last, as long as none was erased since.
type cache struct {
	mu       sync.Mutex
	limit    int
	erasures int64
	keys     map[string]*list.Element
	used     *list.List // of *cached, the last used first
}

type cached struct {
	customer string
	key      *customerKey
}

func newCache(limit int) *cache {
	return &cache{limit: limit, keys: make(map[string]*list.Element), used: list.New()}
}

// get returns nil when the key is not there, or may have been erased.
func (c *cache) get(customer string, erasures int64) *customerKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(erasures)
	e := c.keys[customer]
	if e == nil || c.erasures != erasures {
		return nil
	}
	c.used.MoveToFront(e)
	return e.Value.(*cached).key
}

// put keeps a key that was loaded after so many erasures had been counted.
func (c *cache) put(customer string, erasures int64, k *customerKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(erasures)
	if c.erasures != erasures || c.keys[customer] != nil {
		return
	}
	c.keys[customer] = c.used.PushFront(&cached{customer, k})
	if c.used.Len() > c.limit {
		last := c.used.Back()
		c.used.Remove(last)
		delete(c.keys, last.Value.(*cached).customer)
	}
}

func (c *cache) forget(customer string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.keys[customer]; e != nil {
		c.used.Remove(e)
		delete(c.keys, customer)
	}
}

// expire forgets everything when keys were erased since.
func (c *cache) expire(erasures int64) {
	if erasures > c.erasures {
		clear(c.keys)
		c.used.Init()
		c.erasures = erasures
	}
}
