module heapmaster

go 1.19
