#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/io/format.h"
#include "model/io/sha256.h"

namespace vmla::data {

/// A hash of everything that decides the result of a job. An unfinished job goes on only from parts
/// that carry the same fingerprint, so what a job puts in here, and in which form, must stay the
/// same from one version to the next (tests/data/encode/job_fingerprint_test.cpp).
///
/// Whole numbers are written in decimal, floating-point ones with 17 significant digits (enough to
/// tell any two doubles apart), flags as 0 or 1.
class JobFingerprint {
 public:
  /// Settings on one line, a space between two. A list is written element by element.
  template <class... Settings>
  void line(const Settings&... settings) {
    put(words(settings...), ' ');
  }
  /// The same with a zero byte between two, for texts that may hold anything.
  template <class... Fields>
  void record(const Fields&... fields) {
    put(words(fields...), '\0');
  }
  /// Writes each number followed by a space, without a line break.
  template <class T>
  void list(const std::vector<T>& numbers) {
    for (const std::string& word : words(numbers)) {
      text(word);
      text(" ");
    }
  }
  void text(std::string_view text) { bytes(text.data(), text.size()); }
  void bytes(const void* data, size_t count) { hash_.update(data, count); }

  /// 64 hex digits. Call it once, last.
  std::string hash() { return hash_.finish(); }

 private:
  using Words = std::vector<std::string>;

  template <class... Values>
  static Words words(const Values&... values) {
    Words out;
    (add(out, values), ...);
    return out;
  }
  static void add(Words& out, std::string_view text) { out.emplace_back(text); }
  static void add(Words& out, double value) { out.push_back(formatted("{:.17g}", value)); }
  static void add(Words& out, std::integral auto value) { out.push_back(std::to_string(value)); }
  template <class T>
  static void add(Words& out, const std::vector<T>& values) {
    for (const T& value : values) add(out, value);
  }
  /// The words with `separator` between two, and a line break.
  void put(const Words& words, char separator);

  io::Sha256 hash_;
};

}  // namespace vmla::data
