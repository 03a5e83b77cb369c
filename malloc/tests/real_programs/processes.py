"""Children forked from a parent whose threads are allocating, a forked pool and subprocesses all compute rightly."""
import multiprocessing
import os
import subprocess
import sys
import threading

NUMBERS = range(2_000)


def square(number):
    digits = [str(number)] * 200
    return int(max(digits)) ** 2


def allocate_until(stop):
    while not stop.is_set():
        [bytes(size) for size in range(1, 3_000, 7)]


def forked_sums(children):
    """Each child works on memory it inherited and on memory of its own, and answers through a pipe."""
    inherited = [str(number) for number in NUMBERS]
    answers = []
    for _ in range(children):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            own = [text * 3 for text in inherited]
            inherited.clear()
            os.write(writer, str(sum(map(len, own))).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            answers.append(int(answer.read()))
        assert os.waitpid(pid, 0)[1] == 0
    return answers


if __name__ == "__main__":
    stop = threading.Event()
    threads = [threading.Thread(target=allocate_until, args=(stop,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    sums = forked_sums(children=20)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        squares = pool.map(square, NUMBERS)
    stop.set()
    for thread in threads:
        thread.join()

    command = [sys.executable, "-c", "import sys; print(sum(map(int, sys.stdin)))"]
    lines = "\n".join(map(str, NUMBERS))
    total = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)

    digits = sum(len(str(number)) for number in NUMBERS)
    assert sums == [3 * digits] * 20
    print(sum(squares), total.stdout.strip())
