#include "model/network/executed_work.h"

#include <ATen/core/ivalue.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/kernel_record.h"

namespace vmla::model {
namespace {

thread_local ExecutedWork* current = nullptr;

/// Where a product's two matrices stand among the arguments of an operator; -1: it is no product.
int first_matrix(std::string_view name) {
  for (const char* product : {"aten::mm", "aten::bmm"}) {
    if (name == product) return 0;
  }
  for (const char* product : {"aten::addmm", "aten::addmm_", "aten::baddbmm", "aten::addmv"}) {
    if (name == product) return 1;
  }
  return -1;
}

using Values = c10::ArrayRef<const c10::IValue>;

Values outputs_of(const at::RecordFunction& function) {
  const std::vector<c10::IValue>& outputs = function.outputs();
  return Values(outputs.data(), outputs.size());
}

template <class Visit>
void for_tensors(Values values, const Visit& visit) {
  for (const c10::IValue& value : values) {
    if (value.isTensor() && value.toTensor().defined()) visit(value.toTensor());
    if (!value.isTensorList()) continue;
    for (const at::Tensor& tensor : value.toTensorVector())
      if (tensor.defined()) visit(tensor);
  }
}

/// What is in memory of tensors: a dim that one is expanded along is there once.
double stored_bytes(Values values) {
  double sum = 0;
  for_tensors(values, [&](const at::Tensor& x) {
    auto bytes = static_cast<double>(x.element_size());
    for (int64_t dim = 0; dim < x.dim(); ++dim) {
      if (x.stride(dim) != 0 || x.size(dim) == 0) bytes *= static_cast<double>(x.size(dim));
    }
    sum += bytes;
  });
  return sum;
}

bool any_on(Values values, c10::DeviceType device) {
  bool found = false;
  for_tensors(values, [&](const at::Tensor& x) { found |= x.device().type() == device; });
  return found;
}

const void* storage_of(const at::Tensor& x) {
  return x.has_storage() ? x.storage().unsafeGetStorageImpl() : nullptr;
}

bool is_allocation(std::string_view name) {
  return name.starts_with("aten::empty") || name.starts_with("aten::new_empty");
}

/// Operations of no kernel, though they have a name like those that change numbers.
bool changes_sizes_alone(std::string_view name) {
  constexpr std::array kNames{"aten::resize_", "aten::set_", "aten::detach_", "aten::as_strided_"};
  return std::ranges::find(kNames, name) != kNames.end();
}

}  // namespace

/// A call under way. What is known of its arguments is noted when it begins, since they are gone
/// when it ends.
struct ExecutedWork::Call : at::ObserverContext {
  /// A product and a kernel of ours are one kernel whatever they call inside of them; of other
  /// operations the innermost are.
  enum class Kind { kOperation, kProduct, kAttention, kKernel, kPartOfKernel };
  Kind kind = Kind::kOperation;
  Call* outer = nullptr;
  bool ran_kernels = false;           // calls inside of it did; of a part: they allocated
  int64_t kernels = 1;                // that a GPU starts for it
  double bytes = 0;                   // read, and of a kernel of ours also made so far
  bool on_device = false;             // of a kernel of ours: reads something of the device
  std::vector<const void*> storages;  // of an operation's arguments

  /// Whether an operation, which is made of no other one, changes numbers or makes some: a view
  /// shares the memory of what it is a view of.
  bool runs_a_kernel(std::string_view name, Values made) const {
    if (is_allocation(name) || changes_sizes_alone(name)) return false;
    if (name.ends_with('_')) return true;
    bool makes = false;
    for_tensors(made, [&](const at::Tensor& x) {
      makes |= std::ranges::find(storages, storage_of(x)) == storages.end();
    });
    return makes;
  }
};

struct ExecutedWork::Observer {
  using Kind = Call::Kind;

  static std::unique_ptr<at::ObserverContext> began(const at::RecordFunction& function) {
    ExecutedWork* counter = current;
    if (counter == nullptr) return nullptr;
    auto call = std::make_unique<Call>();
    call->outer = counter->open_;
    const std::string_view name = function.name();
    const Values inputs = function.inputs();
    if (call->outer != nullptr && is_kernel(*call->outer)) {
      call->kind = Kind::kPartOfKernel;
    } else if (name == kernels::kKernelRecord) {
      call->kind = Kind::kKernel;
      call->kernels = inputs[0].toInt();
      call->bytes = stored_bytes(inputs);
      call->on_device = any_on(inputs, counter->device_);
    } else if (name == kernels::kAttentionRecord) {
      call->kind = Kind::kAttention;
      counter->count_.attention += 2.0 * inputs[0].toDouble();
    } else {
      // The last argument of an `out` variant is what it makes.
      const bool gives_out = std::string_view(function.overload_name()).ends_with("out");
      note_operation(*call, name, gives_out ? inputs.slice(0, inputs.size() - 1) : inputs);
    }
    counter->open_ = call.get();
    return call;
  }

  static void note_operation(Call& call, std::string_view name, Values inputs) {
    // What is written in place is an argument, too, and read but where it is overwritten.
    const bool overwrites = name == "aten::copy_" || name == "aten::fill_" || name == "aten::zero_";
    call.bytes = stored_bytes(overwrites ? inputs.slice(1) : inputs);
    for_tensors(inputs, [&](const at::Tensor& x) { call.storages.push_back(storage_of(x)); });
    const int first = first_matrix(name);
    if (first < 0) return;
    call.kind = Kind::kProduct;
    const at::Tensor& left = inputs[static_cast<size_t>(first)].toTensor();
    const at::Tensor& right = inputs[static_cast<size_t>(first) + 1].toTensor();
    const double columns = right.dim() == 1 ? 1.0 : static_cast<double>(right.size(-1));
    current->count_.products += 2.0 * static_cast<double>(left.numel()) * columns;
  }

  static void ended(const at::RecordFunction& function, at::ObserverContext* context) {
    ExecutedWork* counter = current;
    if (context == nullptr || counter == nullptr) return;
    const auto& call = static_cast<const Call&>(*context);
    counter->open_ = call.outer;
    const std::string_view name = function.name();
    const Values made = outputs_of(function);
    if (call.kind == Kind::kPartOfKernel) {
      // A product's results are its outputs, which are counted when it ends; and empty_like calls
      // empty.
      Call& kernel = kernel_of(call);
      if (kernel.kind == Kind::kKernel && is_allocation(name) && !call.ran_kernels)
        kernel.bytes += stored_bytes(made);
      if (is_allocation(name)) call.outer->ran_kernels = true;
      return;
    }
    bool ran = call.ran_kernels, counts = false;
    if (call.kind == Kind::kKernel) {
      ran = true;
      counts = call.on_device;
    } else if (call.kind == Kind::kProduct ||
               (call.kind == Kind::kOperation && !ran && call.runs_a_kernel(name, made))) {
      ran = true;
      counts = any_on(made, counter->device_);
    }
    if (counts) {
      counter->count_.kernels += call.kernels;
      counter->count_.bytes += call.bytes;
      if (call.kind != Kind::kKernel) counter->count_.bytes += stored_bytes(made);
    }
    if (ran && call.outer != nullptr) call.outer->ran_kernels = true;
  }

  static bool is_kernel(const Call& call) {
    return call.kind == Kind::kKernel || call.kind == Kind::kProduct ||
           call.kind == Kind::kPartOfKernel;
  }
  static Call& kernel_of(const Call& part) {
    Call* call = part.outer;
    while (call->kind == Kind::kPartOfKernel) call = call->outer;
    return *call;
  }
};

ExecutedWork::Count& ExecutedWork::Count::operator+=(const Count& other) {
  products += other.products;
  attention += other.attention;
  kernels += other.kernels;
  bytes += other.bytes;
  return *this;
}

ExecutedWork::Count ExecutedWork::Count::scaled(double times) const {
  return {products * times,
          attention * times,
          std::llround(static_cast<double>(kernels) * times),
          bytes * times};
}

ExecutedWork::ExecutedWork(c10::DeviceType device) : device_(device) {
  TORCH_CHECK(current == nullptr, "work of this thread is being counted already");
  current = this;
  handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(Observer::began, Observer::ended)
                                           .needsInputs(true)
                                           .needsOutputs(true)
                                           .scopes({at::RecordScope::FUNCTION}));
}

ExecutedWork::~ExecutedWork() {
  at::removeCallback(handle_);
  current = nullptr;
}

ExecutedWork::Count ExecutedWork::take() {
  return std::exchange(count_, {});
}

}  // namespace vmla::model
