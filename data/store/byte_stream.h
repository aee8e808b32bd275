#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

/// Values as bytes and back, between two processes of one build on one machine. A struct takes part
/// by a function stream_fields(value, stream) that hands each of its members to the stream; it
/// serves both directions.
namespace vmla::data {

class BytePacker {
 public:
  template <class T>
  void operator()(const T& value) {
    if constexpr (std::is_arithmetic_v<T>) {
      bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    } else {
      stream_fields(value, *this);
    }
  }
  void operator()(const std::string& text) {
    (*this)(text.size());
    bytes_ += text;
  }
  template <class T>
  void operator()(const std::vector<T>& values) {
    (*this)(values.size());
    if constexpr (std::is_arithmetic_v<T>) {
      bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
    } else {
      for (const T& value : values) (*this)(value);
    }
  }
  template <class T>
  void operator()(const std::optional<T>& value) {
    (*this)(value.has_value());
    if (value) (*this)(*value);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

/// The other process sent something else.
struct WrongBytes {};

/// Takes values out of `bytes`, which must outlive it; throws WrongBytes where they end too early.
/// Never allocates more than a small multiple of them.
class ByteUnpacker {
 public:
  explicit ByteUnpacker(std::string_view bytes) : left_(bytes) {}

  template <class T>
  void operator()(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      value = *take(1) != 0;
    } else if constexpr (std::is_arithmetic_v<T>) {
      std::memcpy(&value, take(sizeof value), sizeof value);
    } else {
      stream_fields(value, *this);
    }
  }
  void operator()(std::string& text) {
    const size_t size = count(1);
    text.assign(take(size), size);
  }
  template <class T>
  void operator()(std::vector<T>& values) {
    if constexpr (std::is_arithmetic_v<T>) {
      values.resize(count(sizeof(T)));
      if (!values.empty()) {
        std::memcpy(values.data(), take(values.size() * sizeof(T)), values.size() * sizeof(T));
      }
    } else {
      values.resize(count(sizeof(size_t)));
      for (T& value : values) (*this)(value);
    }
  }
  template <class T>
  void operator()(std::optional<T>& value) {
    bool there = false;
    (*this)(there);
    if (there) (*this)(value.emplace());
  }
  bool at_end() const { return left_.empty(); }

 private:
  /// A number of elements of at least `least_bytes` each.
  size_t count(size_t least_bytes) {
    size_t number = 0;
    (*this)(number);
    if (number > left_.size() / least_bytes) throw WrongBytes();
    return number;
  }
  const char* take(size_t bytes) {
    if (bytes > left_.size()) throw WrongBytes();
    const char* at = left_.data();
    left_.remove_prefix(bytes);
    return at;
  }

  std::string_view left_;
};

}  // namespace vmla::data
