// Templates and containers enough to keep the compiler busy; every result is known beforehand.
#include <array>
#include <deque>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <utility>
#include <vector>

namespace {

template <unsigned N>
struct Fibonacci {
    static constexpr unsigned long value = Fibonacci<N - 1>::value + Fibonacci<N - 2>::value;
};
template <>
struct Fibonacci<1> {
    static constexpr unsigned long value = 1;
};
template <>
struct Fibonacci<0> {
    static constexpr unsigned long value = 0;
};

template <typename T, std::size_t N>
struct Matrix {
    std::array<std::array<T, N>, N> cell{};

    static Matrix identity() {
        Matrix result;
        for (std::size_t i = 0; i < N; ++i) result.cell[i][i] = T{1};
        return result;
    }

    friend Matrix operator*(const Matrix& a, const Matrix& b) {
        Matrix result;
        for (std::size_t i = 0; i < N; ++i)
            for (std::size_t j = 0; j < N; ++j)
                for (std::size_t k = 0; k < N; ++k) result.cell[i][j] += a.cell[i][k] * b.cell[k][j];
        return result;
    }
};

template <std::size_t N>
bool identity_is_neutral() {
    const auto identity = Matrix<long, N>::identity();
    return (identity * identity).cell == identity.cell;
}

template <std::size_t... N>
bool identities_are_neutral(std::index_sequence<N...>) {
    return (identity_is_neutral<N + 1>() && ...);
}

struct Number;
struct Sum;
using Expression = std::variant<std::unique_ptr<Number>, std::unique_ptr<Sum>>;
struct Number {
    long value;
};
struct Sum {
    Expression left, right;
};

Expression sum_of(long first, long last) {
    if (first == last) return std::make_unique<Number>(Number{first});
    const long middle = first + (last - first) / 2;
    return std::make_unique<Sum>(Sum{sum_of(first, middle), sum_of(middle + 1, last)});
}

long evaluate(const Expression& expression) {
    if (auto* number = std::get_if<0>(&expression)) return (*number)->value;
    const auto& sum = *std::get<1>(expression);
    return evaluate(sum.left) + evaluate(sum.right);
}

template <typename Container>
long filled_and_emptied(long count) {
    Container container;
    for (long i = 0; i < count; ++i) container.insert(container.end(), i);
    return std::accumulate(container.begin(), container.end(), 0L);
}

template <template <typename...> class Map>
std::size_t words_in_buckets(int words) {
    Map<std::string, std::vector<std::string>> buckets;
    for (int i = 0; i < words; ++i) buckets["bucket " + std::to_string(i % 1000)].push_back(std::to_string(i));
    std::size_t total = 0;
    for (const auto& [name, content] : buckets) total += content.size();
    return total;
}

// Nodes made here are freed by the threads that receive them.
long handed_to_threads(int threads, int each) {
    std::vector<std::list<std::string>> lists(threads);
    for (auto& list : lists)
        for (int i = 0; i < each; ++i) list.push_back(std::string(i % 100 + 1, 'x'));
    std::vector<long> totals(threads);
    std::vector<std::thread> workers;
    for (int t = 0; t < threads; ++t)
        workers.emplace_back([&total = totals[t], list = std::move(lists[t])]() mutable {
            for (; !list.empty(); list.pop_front()) total += static_cast<long>(list.front().size());
        });
    for (auto& worker : workers) worker.join();
    return std::accumulate(totals.begin(), totals.end(), 0L);
}

}  // namespace

int main() {
    std::cout << Fibonacci<90>::value << '\n';
    std::cout << identities_are_neutral(std::make_index_sequence<12>()) << '\n';
    std::cout << evaluate(sum_of(1, 100000)) << '\n';
    std::cout << filled_and_emptied<std::vector<long>>(100000) << ' ' << filled_and_emptied<std::deque<long>>(100000)
              << ' ' << filled_and_emptied<std::list<long>>(100000) << ' '
              << filled_and_emptied<std::set<long>>(100000) << '\n';
    std::cout << words_in_buckets<std::map>(200000) << ' ' << words_in_buckets<std::unordered_map>(200000) << '\n';
    std::cout << handed_to_threads(4, 100000) << '\n';
}
