#include "model/io/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <unordered_map>
#include <utility>

#include "model/io/error.h"
#include "model/io/pickle_names.h"
#include "model/io/quoted_name.h"

namespace vmla::io {
namespace {

// A model of a hundred thousand tensors takes less, and what is built of a byte takes up to fifty.
constexpr size_t kMostBytes = size_t{16} << 20;
// More than any tensor has.
constexpr size_t kMostDims = 64;

// The instructions, by their names in Python's pickletools.
enum Op : uint8_t {
  kMark = '(',
  kStop = '.',
  kBinint = 'J',
  kBinint1 = 'K',
  kBinint2 = 'M',
  kNone = 'N',
  kBinpersid = 'Q',
  kReduce = 'R',
  kBinstring = 'T',
  kShortBinstring = 'U',
  kBinunicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinget = 'h',
  kLongBinget = 'j',
  kBinput = 'q',
  kLongBinput = 'r',
  kSetitem = 's',
  kTuple = 't',
  kSetitems = 'u',
  kBinbytes = 'B',
  kShortBinbytes = 'C',
  kEmptyTuple = ')',
  kEmptyList = ']',
  kEmptyDict = '}',
  kBinfloat = 'G',
  kProto = 0x80,
  kNewobj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewtrue = 0x88,
  kNewfalse = 0x89,
  kLong1 = 0x8a,
  kShortBinunicode = 0x8c,
  kBinunicode8 = 0x8d,
  kBinbytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAdditems = 0x90,
  kFrozenset = 0x91,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kBytearray8 = 0x96,
};

class PickleReader {
 public:
  PickleReader(std::string_view bytes, const std::string& file_name)
      : bytes_(bytes), file_name_(file_name) {
    // Those that take one byte each are there once.
    out_.values = {{PickleKind::none, {}},
                   {PickleKind::boolean, false},
                   {PickleKind::boolean, true},
                   {PickleKind::other, {}},
                   {PickleKind::list, std::vector<PickleId>{}}};
  }

  Pickle read() {
    if (bytes_.size() > kMostBytes) {
      fail_user("{}: a pickle of {} bytes; no dict of tensors needs more than {}",
                file_name_,
                bytes_.size(),
                kMostBytes);
    }
    while (true) {
      start_ = at_;
      const uint8_t op = fixed<uint8_t>();
      if (op == kStop) break;
      if (!read_plain(op) && !read_text(op) && !read_container(op) && !read_memo(op) &&
          !read_call(op)) {
        refuse(formatted("the instruction {:02x} is none that torch.save writes", op));
      }
    }
    out_.root = pop();
    return std::move(out_);
  }

 private:
  static constexpr PickleId kNoneId = 0, kFalseId = 1, kTrueId = 2, kOtherId = 3, kNoItemsId = 4;

  [[noreturn]] void refuse(std::string_view what) const {
    fail_user("{}: byte {} of its pickle: {}", file_name_, start_, what);
  }

  // --- bytes ---

  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) refuse("truncated");
    const std::string_view taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }

  /// A little-endian number.
  template <class T>
  T fixed() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  std::string_view line() {
    const size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) refuse("truncated");
    const std::string_view text = take(end - at_);
    take(1);
    return text;
  }

  // --- the stack ---

  void push(PickleId id) { stack_.push_back(id); }
  void push(PickleKind kind, decltype(PickleValue::content) content) {
    push(static_cast<PickleId>(out_.values.size()));
    out_.values.push_back({kind, std::move(content)});
  }

  PickleId pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("a value is missing");
    const PickleId id = stack_.back();
    stack_.pop_back();
    return id;
  }

  /// Everything above the last mark, which goes too.
  std::vector<PickleId> pop_to_mark() {
    if (marks_.empty()) refuse("a mark is missing");
    const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleId> items(from, stack_.end());
    stack_.erase(from, stack_.end());
    marks_.pop_back();
    return items;
  }

  std::vector<PickleId> pop_many(size_t count) {
    std::vector<PickleId> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }

  PickleValue& top() {
    const PickleId id = pop();
    push(id);
    return out_.values[id];
  }

  const PickleValue& value(PickleId id) const { return out_.values[id]; }

  const PickleValue& expect(PickleId id, PickleKind kind, std::string_view what) const {
    if (value(id).kind != kind) refuse(formatted("{} is of another kind than it should be", what));
    return value(id);
  }

  uint64_t count_at(PickleId id, std::string_view what) const {
    const int64_t number = expect(id, PickleKind::integer, what).integer();
    if (number < 0) refuse(formatted("{} is {}", what, number));
    return static_cast<uint64_t>(number);
  }

  // --- instructions; each returns whether `op` is one of its own ---

  bool read_plain(uint8_t op) {
    switch (op) {
      case kProto:
        if (const auto protocol = fixed<uint8_t>(); protocol < 2 || protocol > 5)
          refuse(formatted("protocol {}; 2 to 5 are known", protocol));
        return true;
      case kFrame:  // its length matters to readers of streams alone
        return take(8), true;
      case kNone:
        return push(kNoneId), true;
      case kNewtrue:
        return push(kTrueId), true;
      case kNewfalse:
        return push(kFalseId), true;
      case kBinint:
        return push(PickleKind::integer, int64_t{fixed<int32_t>()}), true;
      case kBinint1:
        return push(PickleKind::integer, int64_t{fixed<uint8_t>()}), true;
      case kBinint2:
        return push(PickleKind::integer, int64_t{fixed<uint16_t>()}), true;
      case kLong1:
        return push_long(take(fixed<uint8_t>())), true;
      case kBinfloat:  // the only big-endian number
        return push(PickleKind::real, std::bit_cast<double>(__builtin_bswap64(fixed<uint64_t>()))),
               true;
      default:
        return false;
    }
  }

  /// A little-endian number in two's complement, of any length.
  void push_long(std::string_view digits) {
    if (digits.size() > 8) return push(kOtherId);
    int64_t number = !digits.empty() && (digits.back() & 0x80) != 0 ? -1 : 0;
    std::memcpy(&number, digits.data(), digits.size());
    push(PickleKind::integer, number);
  }

  bool read_text(uint8_t op) {
    const auto text = [&](uint64_t bytes) { push(PickleKind::text, take(bytes)); };
    const auto no_text = [&](uint64_t bytes) {
      take(bytes);
      push(kOtherId);
    };
    switch (op) {
      case kShortBinstring:
      case kShortBinunicode:
        return text(fixed<uint8_t>()), true;
      case kBinstring:
      case kBinunicode:
        return text(fixed<uint32_t>()), true;
      case kBinunicode8:
        return text(fixed<uint64_t>()), true;
      case kShortBinbytes:
        return no_text(fixed<uint8_t>()), true;
      case kBinbytes:
        return no_text(fixed<uint32_t>()), true;
      case kBinbytes8:
      case kBytearray8:
        return no_text(fixed<uint64_t>()), true;
      default:
        return false;
    }
  }

  bool read_container(uint8_t op) {
    switch (op) {
      case kMark:
        return marks_.push_back(stack_.size()), true;
      case kEmptyTuple:
        return push(kNoItemsId), true;
      case kEmptyList:
        return push(PickleKind::list, std::vector<PickleId>{}), true;
      case kEmptyDict:
        return push(PickleKind::dict, std::vector<PickleId>{}), true;
      case kEmptySet:
        return push(kOtherId), true;
      case kTuple:
        return push(PickleKind::list, pop_to_mark()), true;
      case kTuple1:
      case kTuple2:
      case kTuple3:
        return push(PickleKind::list, pop_many(op - kTuple1 + size_t{1})), true;
      case kAppend:
        return extend(PickleKind::list, pop_many(1)), true;
      case kAppends:
        return extend(PickleKind::list, pop_to_mark()), true;
      case kSetitem:
        return extend(PickleKind::dict, pop_many(2)), true;
      case kSetitems:
        return extend(PickleKind::dict, pop_to_mark()), true;
      case kAdditems:
        pop_to_mark();
        if (top().kind != PickleKind::other) refuse("items for what is no set");
        return true;
      case kFrozenset:
        pop_to_mark();
        return push(kOtherId), true;
      default:
        return false;
    }
  }

  /// Adds items to the list or dict on top of the stack.
  void extend(PickleKind kind, const std::vector<PickleId>& items) {
    if (kind == PickleKind::dict && items.size() % 2 != 0) refuse("a key without a value");
    PickleValue& whole = top();
    if (whole.kind != kind || &whole == &out_.values[kNoItemsId])
      refuse("items for what is no list or dict");
    auto& all = std::get<std::vector<PickleId>>(whole.content);
    all.insert(all.end(), items.begin(), items.end());
  }

  bool read_memo(uint8_t op) {
    const auto put = [&](uint32_t place) {
      top();
      memo_[place] = stack_.back();
    };
    const auto get = [&](uint32_t place) {
      const auto found = memo_.find(place);
      if (found == memo_.end()) refuse(formatted("the memo has no {}", place));
      push(found->second);
    };
    switch (op) {
      case kBinput:
        return put(fixed<uint8_t>()), true;
      case kLongBinput:
        return put(fixed<uint32_t>()), true;
      case kMemoize:
        return put(static_cast<uint32_t>(memo_.size())), true;
      case kBinget:
        return get(fixed<uint8_t>()), true;
      case kLongBinget:
        return get(fixed<uint32_t>()), true;
      default:
        return false;
    }
  }

  bool read_call(uint8_t op) {
    switch (op) {
      case kGlobal: {
        const std::string_view module = line();
        return push_name(module, line()), true;
      }
      case kStackGlobal: {
        const PickleId name = pop(), module = pop();
        return push_name(expect(module, PickleKind::text, "a module's name").text(),
                         expect(name, PickleKind::text, "a name").text()),
               true;
      }
      case kBinpersid:
        return push_storage(pop()), true;
      case kReduce:
      case kNewobj: {
        const PickleId arguments = pop(), called = pop();
        return call(called, expect(arguments, PickleKind::list, "arguments").items()), true;
      }
      case kBuild:  // attributes, such as the versions in a state dict's _metadata
        pop();
        if (const PickleKind kind = top().kind;
            kind != PickleKind::dict && kind != PickleKind::tensor)
          refuse("attributes for what has none");
        return true;
      default:
        return false;
    }
  }

  void push_name(std::string_view module, std::string_view name) {
    const auto known = find_pickle_name(module, name);
    if (!known) {
      fail_user(
          "{}: names the Python object {}, which no dict of tensors needs (nothing of it was "
          "run); save the tensors alone: torch.save(model.state_dict(), FILE)",
          file_name_,
          quoted_name(std::string(module.substr(0, kLongestName)) + "." +
                      std::string(name.substr(0, kLongestName))));
    }
    push(PickleKind::type, *known);
  }
  static constexpr size_t kLongestName = 256;

  /// What stands behind ('storage', type, key, device, number of elements).
  void push_storage(PickleId id) {
    const auto& parts = expect(id, PickleKind::list, "a persistent id").items();
    if (parts.size() != 5 || value(parts[0]).kind != PickleKind::text ||
        value(parts[0]).text() != "storage") {
      refuse("a persistent id that is no storage's");
    }
    const PickleName& type = name_at(parts[1]);
    if (type.meaning != PickleMeaning::storage) refuse("a storage of an unknown type");
    const PickledStorage storage = {.key = expect(parts[2], PickleKind::text, "a key").text(),
                                    .type = type.type,
                                    .count = count_at(parts[4], "the size of a storage")};
    push(PickleKind::storage, static_cast<uint32_t>(out_.storages.size()));
    out_.storages.push_back(storage);
  }

  const PickleName& name_at(PickleId id) const {
    return pickle_name(std::get<uint32_t>(expect(id, PickleKind::type, "a name").content));
  }

  void call(PickleId called, const std::vector<PickleId>& arguments) {
    switch (name_at(called).meaning) {
      case PickleMeaning::dict:
        return call_dict(arguments);
      case PickleMeaning::list:  // torch.Size((1, 2))
        if (arguments.size() != 1) refuse("a torch.Size without its numbers");
        expect(arguments[0], PickleKind::list, "a torch.Size");
        return push(arguments[0]);
      case PickleMeaning::tensor:
      case PickleMeaning::tensor_of_dtype:
        return call_tensor(arguments, name_at(called).meaning == PickleMeaning::tensor_of_dtype);
      case PickleMeaning::parameter:
        if (arguments.empty()) refuse("a parameter without its tensor");
        expect(arguments[0], PickleKind::tensor, "a parameter");
        return push(arguments[0]);
      case PickleMeaning::harmless:
        return push(kOtherId);
      case PickleMeaning::storage:
      case PickleMeaning::dtype:
        refuse("a type is called");
    }
  }

  /// OrderedDict(), or of a list of pairs.
  void call_dict(const std::vector<PickleId>& arguments) {
    std::vector<PickleId> items;
    if (!arguments.empty()) {
      for (const PickleId id : expect(arguments[0], PickleKind::list, "a dict's items").items()) {
        const auto& pair = expect(id, PickleKind::list, "a dict's item").items();
        if (pair.size() != 2) refuse("a dict's item is no pair");
        items.insert(items.end(), pair.begin(), pair.end());
      }
    }
    push(PickleKind::dict, std::move(items));
  }

  /// (storage, offset, shape, stride, requires_grad, hooks), and of the newer types their dtype.
  void call_tensor(const std::vector<PickleId>& arguments, bool has_dtype) {
    if (arguments.size() < (has_dtype ? 7 : 4)) refuse("a tensor without all of its parts");
    const PickleValue& storage = expect(arguments[0], PickleKind::storage, "a tensor's storage");
    PickledTensor tensor;
    tensor.storage = out_.storages[std::get<uint32_t>(storage.content)];
    tensor.type = tensor.storage.type;
    if (has_dtype) {
      const PickleName& dtype = name_at(arguments[6]);
      if (dtype.meaning != PickleMeaning::dtype) refuse("a tensor of an unknown type");
      tensor.type = dtype.type;
    }
    if (tensor.type.bytes == 0) refuse("a tensor without a type");
    tensor.offset = count_at(arguments[1], "a tensor's offset");
    tensor.shape = counts(arguments[2], "a tensor's shape");
    tensor.stride = counts(arguments[3], "a tensor's stride");
    if (tensor.shape.size() != tensor.stride.size())
      refuse("a tensor's shape and stride differ in length");
    push(PickleKind::tensor, static_cast<uint32_t>(out_.tensors.size()));
    out_.tensors.push_back(std::move(tensor));
  }

  std::vector<uint64_t> counts(PickleId id, std::string_view what) const {
    const auto& items = expect(id, PickleKind::list, what).items();
    if (items.size() > kMostDims) refuse(formatted("{} has more than {} numbers", what, kMostDims));
    std::vector<uint64_t> numbers;
    numbers.reserve(items.size());
    for (const PickleId item : items) numbers.push_back(count_at(item, what));
    return numbers;
  }

  std::string_view bytes_;
  const std::string& file_name_;
  size_t at_ = 0, start_ = 0;  // where it reads, and where the present instruction begins
  Pickle out_;
  std::vector<PickleId> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, PickleId> memo_;
};

}  // namespace

Pickle parse_pickle(std::string_view bytes, const std::string& file_name) {
  return PickleReader(bytes, file_name).read();
}

}  // namespace vmla::io
