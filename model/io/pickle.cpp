#include "model/io/pickle.h"

#include <bit>
#include <cstring>

#include "model/io/error.h"
#include "model/io/pickle_machine.h"

namespace vmla::io {
namespace {

// A model of a hundred thousand tensors takes less, and what is built of a byte takes up to fifty.
constexpr size_t kMostBytes = size_t{16} << 20;

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

/// Reads the instructions of a pickle one after another, and has the machine do them.
class PickleReader {
 public:
  PickleReader(std::string_view bytes, const std::string& file_name)
      : bytes_(bytes), file_name_(file_name), machine_(file_name) {}

  Pickle read() {
    if (bytes_.size() > kMostBytes) {
      fail_user("{}: a pickle of {} bytes; no dict of tensors needs more than {}",
                file_name_,
                bytes_.size(),
                kMostBytes);
    }
    while (true) {
      machine_.begin_instruction(at_);
      const uint8_t op = fixed<uint8_t>();
      if (op == kStop) break;
      if (!read_plain(op) && !read_text(op) && !read_container(op) && !read_memo(op) &&
          !read_call(op)) {
        machine_.refuse(formatted("the instruction {:02x} is none that torch.save writes", op));
      }
    }
    return machine_.finish();
  }

 private:
  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) machine_.refuse("truncated");
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
    if (end == std::string_view::npos) machine_.refuse("truncated");
    const std::string_view text = take(end - at_);
    take(1);
    return text;
  }

  // Each of the following returns whether `op` is one of its own.

  bool read_plain(uint8_t op) {
    switch (op) {
      case kProto:
        if (const auto protocol = fixed<uint8_t>(); protocol < 2 || protocol > 5)
          machine_.refuse(formatted("protocol {}; 2 to 5 are known", protocol));
        return true;
      case kFrame:  // its length matters to readers of streams alone
        return take(8), true;
      case kNone:
        return machine_.push(PickleMachine::kNoneId), true;
      case kNewtrue:
        return machine_.push(PickleMachine::kTrueId), true;
      case kNewfalse:
        return machine_.push(PickleMachine::kFalseId), true;
      case kBinint:
        return machine_.push(PickleKind::integer, int64_t{fixed<int32_t>()}), true;
      case kBinint1:
        return machine_.push(PickleKind::integer, int64_t{fixed<uint8_t>()}), true;
      case kBinint2:
        return machine_.push(PickleKind::integer, int64_t{fixed<uint16_t>()}), true;
      case kLong1:
        return push_long(take(fixed<uint8_t>())), true;
      case kBinfloat:  // the only big-endian number
        return machine_.push(PickleKind::real,
                             std::bit_cast<double>(__builtin_bswap64(fixed<uint64_t>()))),
               true;
      default:
        return false;
    }
  }

  /// A little-endian number in two's complement, of any length.
  void push_long(std::string_view digits) {
    if (digits.size() > 8) return machine_.push(PickleMachine::kOtherId);
    int64_t number = !digits.empty() && (digits.back() & 0x80) != 0 ? -1 : 0;
    std::memcpy(&number, digits.data(), digits.size());
    machine_.push(PickleKind::integer, number);
  }

  bool read_text(uint8_t op) {
    const auto text = [&](uint64_t bytes) { machine_.push(PickleKind::text, take(bytes)); };
    const auto no_text = [&](uint64_t bytes) {
      take(bytes);
      machine_.push(PickleMachine::kOtherId);
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
        return machine_.mark(), true;
      case kEmptyTuple:
        return machine_.push(PickleMachine::kNoItemsId), true;
      case kEmptyList:
        return machine_.push(PickleKind::list, std::vector<PickleId>{}), true;
      case kEmptyDict:
        return machine_.push(PickleKind::dict, std::vector<PickleId>{}), true;
      case kEmptySet:
        return machine_.push(PickleMachine::kOtherId), true;
      case kTuple:
        return machine_.push(PickleKind::list, machine_.pop_to_mark()), true;
      case kTuple1:
      case kTuple2:
      case kTuple3:
        return machine_.push(PickleKind::list, machine_.pop_many(op - kTuple1 + size_t{1})), true;
      case kAppend:
        return machine_.extend(PickleKind::list, machine_.pop_many(1)), true;
      case kAppends:
        return machine_.extend(PickleKind::list, machine_.pop_to_mark()), true;
      case kSetitem:
        return machine_.extend(PickleKind::dict, machine_.pop_many(2)), true;
      case kSetitems:
        return machine_.extend(PickleKind::dict, machine_.pop_to_mark()), true;
      case kAdditems:
        machine_.pop_to_mark();
        if (machine_.top().kind != PickleKind::other) machine_.refuse("items for what is no set");
        return true;
      case kFrozenset:
        machine_.pop_to_mark();
        return machine_.push(PickleMachine::kOtherId), true;
      default:
        return false;
    }
  }

  bool read_memo(uint8_t op) {
    switch (op) {
      case kBinput:
        return machine_.put(fixed<uint8_t>()), true;
      case kLongBinput:
        return machine_.put(fixed<uint32_t>()), true;
      case kMemoize:
        return machine_.memoize(), true;
      case kBinget:
        return machine_.get(fixed<uint8_t>()), true;
      case kLongBinget:
        return machine_.get(fixed<uint32_t>()), true;
      default:
        return false;
    }
  }

  bool read_call(uint8_t op) {
    switch (op) {
      case kGlobal: {
        const std::string_view module = line();
        return machine_.push_name(module, line()), true;
      }
      case kStackGlobal: {
        const PickleId name = machine_.pop(), module = machine_.pop();
        return machine_.push_name(
                   machine_.expect(module, PickleKind::text, "a module's name").text(),
                   machine_.expect(name, PickleKind::text, "a name").text()),
               true;
      }
      case kBinpersid:
        return machine_.push_storage(machine_.pop()), true;
      case kReduce:
      case kNewobj: {
        const PickleId arguments = machine_.pop(), called = machine_.pop();
        return machine_.call(called, arguments), true;
      }
      case kBuild:  // attributes, such as the versions in a state dict's _metadata
        machine_.pop();
        if (const PickleKind kind = machine_.top().kind;
            kind != PickleKind::dict && kind != PickleKind::tensor)
          machine_.refuse("attributes for what has none");
        return true;
      default:
        return false;
    }
  }

  std::string_view bytes_;
  const std::string& file_name_;
  size_t at_ = 0;  // where it reads
  PickleMachine machine_;
};

}  // namespace

Pickle parse_pickle(std::string_view bytes, const std::string& file_name) {
  return PickleReader(bytes, file_name).read();
}

}  // namespace vmla::io
