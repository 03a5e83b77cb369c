/**
 * @file
 * HeapMaster for C++17 and later: heapmaster.h with owners, exceptions, and allocators for containers.
 *
 * | class | what it is |
 * |---|---|
 * | heapmaster::pool | a pool that is deleted with its owner; moved, not copied |
 * | heapmaster::pool_ref | a pool that somebody else owns |
 * | heapmaster::allocator | the allocator of a standard container |
 * | heapmaster::memory_resource | a std::pmr::memory_resource |
 * | heapmaster::unique_ptr, make_unique() | an object, or an array, in a pool |
 *
 * **Errors.** Calls that fail for want of memory throw std::bad_alloc, others std::system_error, whose code is
 * an ::hl_status and whose text that of hl_last_error_message(). The overloads that take a std::error_code
 * throw nothing. Compiled without exceptions, what would throw ends the program by std::abort().
 *
 * **Lifetimes.** Allocators, resources and unique_ptrs refer to the pool itself, not to the object that owns
 * it: they stay valid when that is moved, and must be gone when it is destroyed.
 *
 * **Threads.** As in C: a pool can be used by any number of threads at once, unless it was made with
 * HL_POOL_SINGLE_THREADED; the objects here, like any others, by one thread while they change.
 *
 * **Cost.** That of the C function. Only exceptions and the text of map() take memory elsewhere.
 */

#ifndef HEAPMASTER_HPP
#define HEAPMASTER_HPP

#if __cplusplus < 201703L && (!defined(_MSVC_LANG) || _MSVC_LANG < 201703L)
#error "heapmaster.hpp needs C++17 or later: -std=c++17; heapmaster.h is for any C++"
#endif

#include "heapmaster.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#if __has_include(<memory_resource>)
#include <memory_resource>
#endif

template <>
struct std::is_error_code_enum<hl_status> : std::true_type {};

namespace heapmaster {

namespace detail {

class status_category final : public std::error_category {
public:
    const char *name() const noexcept override { return "heapmaster"; }

    std::string message(int status) const override { return hl_status_message(status); }

    // The errno that the C functions leave.
    std::error_condition default_error_condition(int status) const noexcept override {
        switch (status) {
        case HL_OK:
            return {};
        case HL_ERR_OUT_OF_MEMORY:
        case HL_ERR_LIMIT_REACHED:
        case HL_ERR_SIZE_OVERFLOW:
            return std::errc::not_enough_memory;
        case HL_ERR_CORRUPTED:
        case HL_ERR_SYSTEM:
            return {status, *this};
        default:
            return std::errc::invalid_argument;
        }
    }
};

} // namespace detail

/// The category of error codes that are an ::hl_status. They compare equal to std::errc::not_enough_memory or
/// std::errc::invalid_argument, where the C functions set errno to ENOMEM or EINVAL.
inline const std::error_category &category() noexcept {
    static const detail::status_category instance;
    return instance;
}

} // namespace heapmaster

/// Makes a std::error_code of every ::hl_status.
inline std::error_code make_error_code(hl_status status) noexcept {
    return {static_cast<int>(status), heapmaster::category()};
}

namespace heapmaster {

namespace detail {

template <class Exception>
[[noreturn]] void raise(const Exception &exception) {
#if defined(__cpp_exceptions)
    throw exception;
#else
    static_cast<void>(exception);
    std::abort();
#endif
}

[[noreturn]] inline void raise_last_error() {
    const std::error_code error = hl_last_error();
    if (error == std::errc::not_enough_memory) {
        raise(std::bad_alloc());
    }
    raise(std::system_error(error, hl_last_error_message()));
}

inline void require(hl_status status) {
    if (status != HL_OK) {
        raise_last_error();
    }
}

template <class T>
T *require(T *pointer) {
    if (pointer == nullptr) {
        raise_last_error();
    }
    return pointer;
}

/// The same pointer, and why there is none.
template <class T>
T *explain(T *pointer, std::error_code &error) noexcept {
    error = pointer == nullptr ? hl_last_error() : HL_OK;
    return pointer;
}

/// A visitor on its way through frames of C, which no exception may pass, and the exception it ended with.
template <class Visitor>
class passage {
public:
    explicit passage(Visitor &visitor) noexcept : visitor_(visitor) {}

    static bool visit(const hl_block_info *block, void *context) noexcept {
        passage &self = *static_cast<passage *>(context);
#if defined(__cpp_exceptions)
        try {
            return self.show(*block);
        } catch (...) {
            self.thrown_ = std::current_exception();
            return false;
        }
#else
        return self.show(*block);
#endif
    }

    void rethrow() const {
#if defined(__cpp_exceptions)
        if (thrown_ != nullptr) {
            std::rethrow_exception(thrown_);
        }
#endif
    }

private:
    bool show(const hl_block_info &block) {
        if constexpr (std::is_void_v<std::invoke_result_t<Visitor &, const hl_block_info &>>) {
            std::invoke(visitor_, block);
            return true;
        } else {
            return static_cast<bool>(std::invoke(visitor_, block));
        }
    }

    Visitor &visitor_;
    std::exception_ptr thrown_;
};

template <class Callable>
void *context_of(Callable &callable) noexcept {
    return const_cast<void *>(static_cast<const volatile void *>(std::addressof(callable)));
}

} // namespace detail

class pool_ref;

/// What can be done with a pool, whoever owns it. What has no method here is done by the C function with
/// handle(), and the statuses and the cost of each are with the C functions.
class pool_base {
public:
    /// The pool, for the functions of heapmaster.h; null if it was moved away.
    hl_pool *handle() const noexcept { return handle_; }

    /// Whether there is a pool. Without one, every call fails with ::HL_ERR_INVALID_ARGUMENT.
    explicit operator bool() const noexcept { return handle_ != nullptr; }

    /// hl_add_heap(): the memory must outlive the pool, or be removed from it.
    void add_heap(void *memory, std::size_t size) const {
        detail::require(hl_add_heap(handle_, memory, size));
    }

    /// The same without an exception.
    void add_heap(void *memory, std::size_t size, std::error_code &error) const noexcept {
        error = hl_add_heap(handle_, memory, size);
    }

    /// The same for an array, std::array, std::vector or std::span: anything with std::data() and std::size().
    template <class Region,
              class Element = std::remove_pointer_t<decltype(std::data(std::declval<Region &>()))>>
    void add_heap(Region &&region) const {
        static_assert(std::is_trivially_copyable_v<Element>,
                      "a heap overwrites what is in its memory");
        static_assert(
            std::is_lvalue_reference_v<Region> ||
                std::is_convertible_v<decltype(std::data(std::declval<const Region &>())), void *>,
            "the memory would die with a temporary that owns it");
        add_heap(std::data(region), std::size(region) * sizeof(Element));
    }

    /// hl_add_system_heap().
    void add_system_heap(std::size_t max_size = 0) const {
        detail::require(hl_add_system_heap(handle_, max_size));
    }

    /// The same without an exception.
    void add_system_heap(std::size_t max_size, std::error_code &error) const noexcept {
        error = hl_add_system_heap(handle_, max_size);
    }

    /// hl_drain_heap().
    void drain_heap(void *memory) const { detail::require(hl_drain_heap(handle_, memory)); }

    /// The same without an exception.
    void drain_heap(void *memory, std::error_code &error) const noexcept {
        error = hl_drain_heap(handle_, memory);
    }

    /// hl_remove_heap().
    void remove_heap(void *memory) const { detail::require(hl_remove_heap(handle_, memory)); }

    /// The same without an exception.
    void remove_heap(void *memory, std::error_code &error) const noexcept {
        error = hl_remove_heap(handle_, memory);
    }

    /// hl_alloc(). Never null.
    [[nodiscard]] void *allocate(std::size_t size) const {
        return detail::require(hl_alloc(handle_, size));
    }

    /// Null if it fails.
    [[nodiscard]] void *allocate(std::size_t size, std::error_code &error) const noexcept {
        return detail::explain(hl_alloc(handle_, size), error);
    }

    /// hl_alloc_aligned(). Never null.
    [[nodiscard]] void *allocate(std::size_t size, std::size_t alignment) const {
        return detail::require(hl_alloc_aligned(handle_, alignment, size));
    }

    /// Null if it fails.
    [[nodiscard]] void *allocate(std::size_t size, std::size_t alignment,
                                 std::error_code &error) const noexcept {
        return detail::explain(hl_alloc_aligned(handle_, alignment, size), error);
    }

    /// hl_alloc_zeroed(). Never null.
    [[nodiscard]] void *allocate_zeroed(std::size_t count, std::size_t size) const {
        return detail::require(hl_alloc_zeroed(handle_, count, size));
    }

    /// Null if it fails.
    [[nodiscard]] void *allocate_zeroed(std::size_t count, std::size_t size,
                                        std::error_code &error) const noexcept {
        return detail::explain(hl_alloc_zeroed(handle_, count, size), error);
    }

    /// hl_resize(). Never null; if it throws, the block is as it was.
    [[nodiscard]] void *resize(void *block, std::size_t size) const {
        return detail::require(hl_resize(handle_, block, size));
    }

    /// Null if it fails; then the block is as it was.
    [[nodiscard]] void *resize(void *block, std::size_t size,
                               std::error_code &error) const noexcept {
        return detail::explain(hl_resize(handle_, block, size), error);
    }

    /// hl_release().
    void release(void *block) const { detail::require(hl_release(handle_, block)); }

    /// The same without an exception.
    void release(void *block, std::error_code &error) const noexcept {
        error = hl_release(handle_, block);
    }

    /// hl_usable_size(); 0 for what is not a live block.
    std::size_t usable_size(const void *block) const noexcept {
        return hl_usable_size(handle_, block);
    }

    /// hl_owns().
    bool owns(const void *address) const noexcept { return hl_owns(handle_, address); }

    /// hl_pool_set_limit().
    void set_limit(std::size_t bytes) const { detail::require(hl_pool_set_limit(handle_, bytes)); }

    /// hl_pool_set_low_memory_callback(): `callback(pool_ref, std::size_t free_bytes)` must not throw, and
    /// lives until another is set and the calls have returned that other threads had under way.
    template <class Callback>
    void set_low_memory_callback(std::size_t threshold, Callback &callback) const;

    /// Removes the callback.
    void set_low_memory_callback(std::size_t threshold, std::nullptr_t) const {
        detail::require(hl_pool_set_low_memory_callback(handle_, threshold, nullptr, nullptr));
    }

    /// hl_pool_set_grow_callback(): `callback(pool_ref, std::size_t needed)`, true if it added a heap, must not
    /// throw, and lives until another is set and the calls have returned that other threads had under way.
    template <class Callback>
    void set_grow_callback(Callback &callback) const;

    /// Removes the callback.
    void set_grow_callback(std::nullptr_t) const {
        detail::require(hl_pool_set_grow_callback(handle_, nullptr, nullptr));
    }

    /// hl_pool_stats().
    hl_pool_statistics stats() const {
        hl_pool_statistics statistics{};
        statistics.struct_size = sizeof statistics;
        detail::require(hl_pool_stats(handle_, &statistics));
        return statistics;
    }

    /// hl_heap_stats().
    hl_heap_statistics heap_stats(const void *memory) const {
        hl_heap_statistics statistics{};
        statistics.struct_size = sizeof statistics;
        detail::require(hl_heap_stats(handle_, memory, &statistics));
        return statistics;
    }

    /// hl_pool_walk(): `visitor(const hl_block_info &)` is shown each block. The walk ends early where it
    /// returns false, if it returns anything, or throws; the exception comes out of here.
    template <class Visitor>
    void walk(Visitor &&visitor) const {
        using passage = detail::passage<std::remove_reference_t<Visitor>>;
        passage through_c(visitor);
        detail::require(hl_pool_walk(handle_, passage::visit, &through_c));
        through_c.rethrow();
    }

    /// hl_pool_check().
    void check() const { detail::require(hl_pool_check(handle_)); }

    /// The same without an exception.
    void check(std::error_code &error) const noexcept { error = hl_pool_check(handle_); }

    /// hl_pool_map().
    std::string map(const void *memory, std::size_t length) const {
        std::string text(length + 1, '\0');
        detail::require(hl_pool_map(handle_, memory, text.data(), text.size()));
        text.pop_back();
        return text;
    }

protected:
    /// Refers to a pool, or to none.
    explicit pool_base(hl_pool *handle) noexcept : handle_(handle) {}
    /// Refers to the same pool.
    pool_base(const pool_base &) noexcept = default;
    /// Refers to the same pool.
    pool_base &operator=(const pool_base &) noexcept = default;
    ~pool_base() = default;

    /// What handle() returns.
    hl_pool *handle_;
};

/// A pool that somebody else owns: a heapmaster::pool, C, or, as with hl_default_pool(), the library.
class pool_ref : public pool_base {
public:
    /// Refers to a pool of C, or to none.
    pool_ref(hl_pool *handle) noexcept : pool_base(handle) {}
    /// Refers to the pool of an owner, or to the same one.
    pool_ref(const pool_base &owner) noexcept : pool_base(owner) {}
};

/// Whether both refer to the same pool.
inline bool operator==(const pool_ref &left, const pool_ref &right) noexcept {
    return left.handle() == right.handle();
}

/// Whether they refer to different pools.
inline bool operator!=(const pool_ref &left, const pool_ref &right) noexcept {
    return !(left == right);
}

template <class Callback>
void pool_base::set_low_memory_callback(std::size_t threshold, Callback &callback) const {
    static_assert(std::is_nothrow_invocable_v<Callback &, pool_ref, std::size_t>,
                  "it is called by C, so it has to be noexcept");
    const auto call = [](hl_pool *from, std::size_t free_bytes, void *context) {
        std::invoke(*static_cast<Callback *>(context), pool_ref(from), free_bytes);
    };
    detail::require(
        hl_pool_set_low_memory_callback(handle_, threshold, call, detail::context_of(callback)));
}

template <class Callback>
void pool_base::set_grow_callback(Callback &callback) const {
    static_assert(std::is_nothrow_invocable_r_v<bool, Callback &, pool_ref, std::size_t>,
                  "it is called by C, so it has to be noexcept");
    const auto call = [](hl_pool *from, std::size_t needed, void *context) -> bool {
        return std::invoke(*static_cast<Callback *>(context), pool_ref(from), needed);
    };
    detail::require(hl_pool_set_grow_callback(handle_, call, detail::context_of(callback)));
}

/// A pool, deleted with this object: its blocks die with it, and its heaps are the caller's again. One that was
/// moved away is empty.
class pool : public pool_base {
public:
    /// hl_pool_new().
    pool() : pool_base(detail::require(hl_pool_new())) {}

    /// Empty if it fails.
    explicit pool(std::error_code &error) noexcept
        : pool_base(detail::explain(hl_pool_new(), error)) {}

    /// hl_pool_new_with(), with HL_POOL_... flags, and a limit unless it is 0.
    explicit pool(std::uint32_t flags, std::size_t limit = 0) : pool(config_of(flags, limit)) {}

    /// hl_pool_new_with().
    explicit pool(const hl_config &config)
        : pool_base(detail::require(hl_pool_new_with(&config))) {}

    /// Empty if it fails.
    pool(const hl_config &config, std::error_code &error) noexcept
        : pool_base(detail::explain(hl_pool_new_with(&config), error)) {}

    /// hl_pool_new_in(): the pool and its first heap lie in that memory.
    static pool in(void *memory, std::size_t size) {
        return adopt(detail::require(hl_pool_new_in(memory, size)));
    }

    /// Empty if it fails.
    static pool in(void *memory, std::size_t size, std::error_code &error) noexcept {
        return adopt(detail::explain(hl_pool_new_in(memory, size), error));
    }

    /// Takes over a pool that was made in C.
    static pool adopt(hl_pool *handle) noexcept { return pool(pool_ref(handle)); }

    /// Takes the pool over; the other one is empty.
    pool(pool &&other) noexcept : pool_base(std::exchange(other.handle_, nullptr)) {}

    /// Deletes its own pool, and takes the other's over.
    pool &operator=(pool &&other) noexcept {
        pool moved(std::move(other));
        std::swap(handle_, moved.handle_);
        return *this;
    }

    ~pool() { hl_pool_delete(handle_); }

    /// hl_pool_reset().
    void reset() const { detail::require(hl_pool_reset(handle_)); }

private:
    explicit pool(const pool_ref &adopted) noexcept : pool_base(adopted) {}

    static hl_config config_of(std::uint32_t flags, std::size_t limit) noexcept {
        hl_config config{};
        config.struct_size = sizeof config;
        config.flags = flags;
        config.limit = limit;
        return config;
    }
};

/// The allocator of a standard container whose elements are to be in a pool.
///
/// A container that is moved or swapped takes its pool along; one that is copied to keeps the pool it has.
template <class T>
class allocator {
public:
    /// What the elements are.
    using value_type = T;
    /// A container that is moved takes its pool along.
    using propagate_on_container_move_assignment = std::true_type;
    /// Containers that are swapped swap their pools.
    using propagate_on_container_swap = std::true_type;
    /// Two of different pools are different.
    using is_always_equal = std::false_type;

    /// Allocates from this pool.
    allocator(const pool_base &owner) noexcept : pool_(owner) {}

    /// Allocates from the same pool.
    template <class U>
    allocator(const allocator<U> &other) noexcept : pool_(other.pool()) {}

    /// std::bad_array_new_length if the size overflows, else std::bad_alloc.
    [[nodiscard]] T *allocate(std::size_t count) const {
        if (count > SIZE_MAX / sizeof(T)) {
            detail::raise(std::bad_array_new_length());
        }
        return static_cast<T *>(pool_.allocate(count * sizeof(T), alignof(T)));
    }

    /// hl_release().
    void deallocate(T *block, std::size_t) const noexcept { hl_release(pool_.handle(), block); }

    /// The pool that it is of.
    pool_ref pool() const noexcept { return pool_; }

private:
    pool_ref pool_;
};

/// Whether each can deallocate what the other allocated.
template <class T, class U>
bool operator==(const allocator<T> &left, const allocator<U> &right) noexcept {
    return left.pool() == right.pool();
}

/// Whether they allocate from different pools.
template <class T, class U>
bool operator!=(const allocator<T> &left, const allocator<U> &right) noexcept {
    return !(left == right);
}

#if defined(__cpp_lib_memory_resource)
/// A pool as the memory resource of std::pmr containers. Two of one pool are equal.
class memory_resource : public std::pmr::memory_resource {
public:
    /// Allocates from this pool.
    explicit memory_resource(const pool_base &owner) noexcept : pool_(owner) {}

    /// The pool that it is of.
    pool_ref pool() const noexcept { return pool_; }

private:
    void *do_allocate(std::size_t bytes, std::size_t alignment) override {
        return pool_.allocate(bytes, alignment);
    }

    void do_deallocate(void *block, std::size_t, std::size_t) override {
        hl_release(pool_.handle(), block);
    }

    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override {
#if defined(__cpp_rtti)
        const auto *same_kind = dynamic_cast<const memory_resource *>(&other);
        return same_kind != nullptr && same_kind->pool_ == pool_;
#else
        return this == &other;
#endif
    }

    pool_ref pool_;
};
#endif

/// Destroys an object and releases its block.
template <class T>
class deleter {
public:
    deleter() noexcept : deleter(nullptr) {}
    /// Of objects in this pool.
    explicit deleter(pool_ref owner) noexcept : pool_(owner) {}

    /// A derived class's, as with std::default_delete, and only where deleting by way of the base is right.
    template <class U,
              class = std::enable_if_t<std::is_convertible_v<U *, T *> &&
                                       (std::is_same_v<std::remove_cv_t<U>, std::remove_cv_t<T>> ||
                                        std::has_virtual_destructor_v<T>)>>
    deleter(const deleter<U> &other) noexcept : pool_(other.pool()) {}

    /// Destroys the object and releases its block.
    void operator()(T *object) const noexcept {
        void *block = start_of(object);
        std::destroy_at(object);
        hl_release(pool_.handle(), block);
    }

    /// The pool that it is of.
    pool_ref pool() const noexcept { return pool_; }

private:
    // A base need not lie at the start of the object.
    static void *start_of(T *object) noexcept {
        if constexpr (std::is_polymorphic_v<T>) {
            return const_cast<void *>(dynamic_cast<const volatile void *>(object));
        } else {
            return const_cast<void *>(static_cast<const volatile void *>(object));
        }
    }

    pool_ref pool_;
};

/// Destroys the elements of an array, last to first, and releases its block.
template <class T>
class deleter<T[]> {
public:
    deleter() noexcept : deleter(nullptr, 0) {}
    /// Of arrays of `size` elements in this pool.
    deleter(pool_ref owner, std::size_t size) noexcept : pool_(owner), size_(size) {}

    /// Destroys the elements and releases their block.
    void operator()(T *elements) const noexcept {
        for (std::size_t left = size_; left > 0; left--) {
            std::destroy_at(elements + left - 1);
        }
        hl_release(pool_.handle(), const_cast<std::remove_cv_t<T> *>(elements));
    }

    /// The pool that it is of.
    pool_ref pool() const noexcept { return pool_; }

    /// Number of elements.
    std::size_t size() const noexcept { return size_; }

private:
    pool_ref pool_;
    std::size_t size_;
};

/// A std::unique_ptr to an object, or an array, in a pool.
template <class T>
using unique_ptr = std::unique_ptr<T, deleter<T>>;

namespace detail {

/// Releases memory in which nothing was constructed.
template <class T>
struct releaser {
    pool_ref owner;

    void operator()(T *memory) const noexcept { hl_release(owner.handle(), memory); }
};

template <class T>
std::unique_ptr<T, releaser<T>> memory_for(pool_ref owner, std::size_t count) {
    return {allocator<T>(owner).allocate(count), releaser<T>{owner}};
}

} // namespace detail

/// Makes an object in a pool. If its constructor throws, the memory is released.
template <class T, class... Arguments, class = std::enable_if_t<!std::is_array_v<T>>>
[[nodiscard]] unique_ptr<T> make_unique(pool_ref owner, Arguments &&...arguments) {
    auto memory = detail::memory_for<std::remove_cv_t<T>>(owner, 1);
    T *object = ::new (static_cast<void *>(memory.get())) T(std::forward<Arguments>(arguments)...);
    memory.release();
    return unique_ptr<T>(object, deleter<T>(owner));
}

/// Makes an array of `size` value-initialised elements in a pool. If one's constructor throws, the others are
/// destroyed and the memory is released.
template <class Array, class Element = std::remove_extent_t<Array>,
          class = std::enable_if_t<std::is_array_v<Array> && std::extent_v<Array> == 0>>
[[nodiscard]] unique_ptr<Array> make_unique(pool_ref owner, std::size_t size) {
    auto memory = detail::memory_for<std::remove_cv_t<Element>>(owner, size);
    std::uninitialized_value_construct_n(memory.get(), size);
    return unique_ptr<Array>(memory.release(), deleter<Array>(owner, size));
}

} // namespace heapmaster

#endif
