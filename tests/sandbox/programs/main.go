// Does what the first word of its input says.
package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
)

func main() {
	var task, first string
	var second int
	fmt.Scan(&task, &first, &second)
	switch task {
	case "sum":
		value, _ := strconv.Atoi(first)
		fmt.Println(value + second)
	case "fail":
		fmt.Fprintln(os.Stderr, "failing")
		os.Exit(3)
	case "spin":
		for {
		}
	case "hoard":
		var blocks [][]byte
		for i := 0; i < 256; i++ {
			block := make([]byte, 16<<20)
			for j := range block {
				block[j] = 'x'
			}
			blocks = append(blocks, block)
		}
		fmt.Println("hoarded", blocks[7][7])
	case "look":
		if _, err := os.ReadFile(first); err == nil {
			fmt.Println("file")
		}
		if _, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", second)); err == nil {
			fmt.Println("network")
		}
		fmt.Println("looked")
	}
}
