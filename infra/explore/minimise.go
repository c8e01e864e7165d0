package explore

import "slices"

// Minimise makes a failing schedule shorter: it leaves moves out, ever smaller pieces of it, as long as a rule is still
// broken. A move that can't happen any more without one that was left out is left out, too.
func Minimise(fresh func() World, f *Failure) *Failure {
	best := *f
	best.Found.Moves = len(f.Path)
	for size := max(1, len(best.Keys)/2); ; {
		shorter := false
		for at := len(best.Keys) - size; at > -size; at -= size {
			from := max(at, 0)
			if from >= len(best.Keys) {
				continue
			}
			keys := slices.Delete(slices.Clone(best.Keys), from, min(from+size, len(best.Keys)))
			if found := playKeys(fresh(), keys); found != nil && len(found.Path) < len(best.Path) {
				found.Found = best.Found
				best, shorter = *found, true
			}
		}
		switch {
		case shorter:
		case size == 1:
			return &best
		default:
			size /= 2
		}
	}
}

// playKeys plays those of the moves that can happen, lets the world settle, and returns what was broken.
func playKeys(w World, keys []string) *Failure {
	defer w.Close()
	var f Failure
	for _, key := range keys {
		n := find(w, key)
		if n < 0 {
			continue
		}
		f.Path, f.Keys = append(f.Path, uint16(n)), append(f.Keys, key)
		if f.Err = w.Do(n); f.Err != nil {
			return &f
		}
	}
	if f.Err = w.Settle(); f.Err == nil {
		return nil
	}
	return &f
}

func find(w World, key string) int {
	for i := range w.Moves() {
		if w.Key(i) == key {
			return i
		}
	}
	return -1
}
