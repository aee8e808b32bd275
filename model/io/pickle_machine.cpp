#include "model/io/pickle_machine.h"

#include "model/io/error.h"
#include "model/io/quoted_name.h"

namespace vmla::io {
namespace {

// More than any tensor has.
constexpr size_t kMostDims = 64;
// Of a foreign name, in messages.
constexpr size_t kLongestName = 256;

}  // namespace

PickleMachine::PickleMachine(const std::string& file_name) : file_name_(file_name) {
  out_.values = {{PickleKind::none, {}},
                 {PickleKind::boolean, false},
                 {PickleKind::boolean, true},
                 {PickleKind::other, {}},
                 {PickleKind::list, std::vector<PickleId>{}}};
}

void PickleMachine::refuse(std::string_view what) const {
  fail_user("{}: byte {} of its pickle: {}", file_name_, start_, what);
}

Pickle PickleMachine::finish() {
  out_.root = pop();
  return std::move(out_);
}

void PickleMachine::put(uint32_t place) {
  top();
  memo_[place] = stack_.back();
}

void PickleMachine::get(uint32_t place) {
  const auto found = memo_.find(place);
  if (found == memo_.end()) refuse(formatted("the memo has no {}", place));
  push(found->second);
}

void PickleMachine::push(PickleKind kind, decltype(PickleValue::content) content) {
  push(static_cast<PickleId>(out_.values.size()));
  out_.values.push_back({kind, std::move(content)});
}

PickleId PickleMachine::pop() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("a value is missing");
  const PickleId id = stack_.back();
  stack_.pop_back();
  return id;
}

std::vector<PickleId> PickleMachine::pop_to_mark() {
  if (marks_.empty()) refuse("a mark is missing");
  const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<PickleId> items(from, stack_.end());
  stack_.erase(from, stack_.end());
  marks_.pop_back();
  return items;
}

std::vector<PickleId> PickleMachine::pop_many(size_t count) {
  std::vector<PickleId> items(count);
  for (size_t i = count; i-- > 0;) items[i] = pop();
  return items;
}

PickleValue& PickleMachine::top() {
  const PickleId id = pop();
  push(id);
  return out_.values[id];
}

const PickleValue& PickleMachine::expect(PickleId id,
                                         PickleKind kind,
                                         std::string_view what) const {
  if (value(id).kind != kind) refuse(formatted("{} is of another kind than it should be", what));
  return value(id);
}

uint64_t PickleMachine::count_at(PickleId id, std::string_view what) const {
  const int64_t number = expect(id, PickleKind::integer, what).integer();
  if (number < 0) refuse(formatted("{} is {}", what, number));
  return static_cast<uint64_t>(number);
}

void PickleMachine::extend(PickleKind kind, const std::vector<PickleId>& items) {
  if (kind == PickleKind::dict && items.size() % 2 != 0) refuse("a key without a value");
  PickleValue& whole = top();
  if (whole.kind != kind || &whole == &out_.values[kNoItemsId])
    refuse("items for what is no list or dict");
  auto& all = std::get<std::vector<PickleId>>(whole.content);
  all.insert(all.end(), items.begin(), items.end());
}

void PickleMachine::push_name(std::string_view module, std::string_view name) {
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

void PickleMachine::push_storage(PickleId id) {
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

const PickleName& PickleMachine::name_at(PickleId id) const {
  return pickle_name(std::get<uint32_t>(expect(id, PickleKind::type, "a name").content));
}

void PickleMachine::call(PickleId called, PickleId argument_list) {
  const std::vector<PickleId> arguments =
      expect(argument_list, PickleKind::list, "arguments").items();
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
void PickleMachine::call_dict(const std::vector<PickleId>& arguments) {
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
void PickleMachine::call_tensor(const std::vector<PickleId>& arguments, bool has_dtype) {
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

std::vector<uint64_t> PickleMachine::counts(PickleId id, std::string_view what) const {
  const auto& items = expect(id, PickleKind::list, what).items();
  if (items.size() > kMostDims) refuse(formatted("{} has more than {} numbers", what, kMostDims));
  std::vector<uint64_t> numbers;
  numbers.reserve(items.size());
  for (const PickleId item : items) numbers.push_back(count_at(item, what));
  return numbers;
}

}  // namespace vmla::io
