#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "model/io/pickle.h"
#include "model/io/pickle_names.h"

namespace vmla::io {

/// The stack and the memo of a pickle that is read, and the values built so far. What a pickle
/// would call in Python is looked up in a closed list (pickle_names.h); of tensors, only what
/// describes them is kept. Each function is what one or several instructions do (the names are
/// those of Python's pickletools); the reader of the bytes is in pickle.cpp. UserError, by
/// `refuse`, for a stack that does not hold what an instruction needs.
class PickleMachine {
 public:
  explicit PickleMachine(const std::string& file_name);

  // Values that take a byte each in the file are there once.
  static constexpr PickleId kNoneId = 0, kFalseId = 1, kTrueId = 2, kOtherId = 3, kNoItemsId = 4;

  /// Byte of the pickle at which the present instruction begins, for messages.
  void begin_instruction(size_t at) { start_ = at; }
  [[noreturn]] void refuse(std::string_view what) const;

  void push(PickleId id) { stack_.push_back(id); }
  void push(PickleKind kind, decltype(PickleValue::content) content);
  PickleId pop();
  /// Everything above the last mark, which goes too.
  std::vector<PickleId> pop_to_mark();
  std::vector<PickleId> pop_many(size_t count);
  PickleValue& top();
  void mark() { marks_.push_back(stack_.size()); }

  /// MEMOIZE and the PUTs: the value on top of the stack can be had again as `place`.
  void put(uint32_t place);
  void memoize() { put(static_cast<uint32_t>(memo_.size())); }
  void get(uint32_t place);

  /// Adds items to the list or dict on top of the stack.
  void extend(PickleKind kind, const std::vector<PickleId>& items);
  /// GLOBAL: pushes what the name means. UserError for a name that no dict of tensors needs.
  void push_name(std::string_view module, std::string_view name);
  /// BINPERSID: what stands behind ('storage', type, key, device, number of elements).
  void push_storage(PickleId id);
  /// REDUCE and NEWOBJ: what the call of a known name gives.
  void call(PickleId called, PickleId arguments);

  const PickleValue& expect(PickleId id, PickleKind kind, std::string_view what) const;

  /// The pickle, whose outermost value is on top of the stack. Called once, at its end.
  Pickle finish();

 private:
  const PickleValue& value(PickleId id) const { return out_.values[id]; }
  uint64_t count_at(PickleId id, std::string_view what) const;
  std::vector<uint64_t> counts(PickleId id, std::string_view what) const;
  const PickleName& name_at(PickleId id) const;
  void call_dict(const std::vector<PickleId>& arguments);
  void call_tensor(const std::vector<PickleId>& arguments, bool has_dtype);

  const std::string& file_name_;
  size_t start_ = 0;
  Pickle out_;
  std::vector<PickleId> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, PickleId> memo_;
};

}  // namespace vmla::io
