// A pool over a mapping: see README.md for how to run it.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"syscall"

	"heapmaster"
)

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	const access = syscall.PROT_READ | syscall.PROT_WRITE
	buffer, err := syscall.Mmap(-1, 0, 64*1024, access, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return err
	}
	defer syscall.Munmap(buffer)

	pool, err := heapmaster.New()
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := pool.AddHeap(buffer); err != nil {
		return err
	}

	greeting, err := pool.Alloc(100)
	if err != nil {
		return err
	}
	if _, err := greeting.WriteAt([]byte("hello"), 0); err != nil {
		return err
	}
	zeros, err := pool.AllocZeroed(1000)
	if err != nil {
		return err
	}
	word := make([]byte, 5)
	if _, err := greeting.ReadAt(word, 0); err != nil {
		return err
	}
	fmt.Printf("read back: %s\n", word)
	fmt.Println("in the buffer:", map[bool]string{true: "yes", false: "no"}[bytes.Contains(buffer, word)])
	zeroed, err := zeros.Bytes()
	if err != nil {
		return err
	}
	sum := 0
	for _, b := range zeroed {
		sum += int(b)
	}
	fmt.Println("sum of the zeroed bytes:", sum)

	if err := zeros.Release(); err != nil {
		return err
	}
	var refused *heapmaster.Error
	if errors.As(zeros.Release(), &refused) {
		fmt.Printf("second release: %s: %s\n", refused.Status.String(), refused)
	}

	statistics, err := pool.Statistics()
	if err != nil {
		return err
	}
	fmt.Println("heaps:", statistics.Heaps)
	fmt.Println("live blocks:", statistics.LiveBlocks)
	fmt.Println("allocations:", statistics.Allocations)
	fmt.Println("releases:", statistics.Releases)
	fmt.Println("misuses:", statistics.Misuses)

	if err := greeting.Resize(5000); err != nil {
		return err
	}
	if _, err := greeting.ReadAt(word, 0); err != nil {
		return err
	}
	fmt.Printf("after a resize to 5000: %s\n", word)
	return pool.Check()
}
