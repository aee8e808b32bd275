// Every operation of LibTorch that the stand-in has no kernel of its own for: the CPU's kernel on
// the same memory, after what CUDA's kernels ask of their operands was checked.
#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/library.h>

#include <set>

#include "tests/standin/device.h"
#include "tests/standin/graph.h"
#include "tests/standin/trace.h"

namespace vmla::standin {
namespace {

/// Operations whose CUDA kernel makes the host wait, because a size or an error depends on values.
bool waits(const std::string& name) {
  static const std::set<std::string> names = {"aten::nonzero",
                                              "aten::masked_select",
                                              "aten::equal",
                                              "aten::unique_dim",
                                              "aten::_unique2",
                                              "aten::unique_consecutive",
                                              "aten::_linalg_eigh",
                                              "aten::_linalg_svd",
                                              "aten::linalg_inv_ex",
                                              "aten::linalg_cholesky_ex",
                                              "aten::repeat_interleave",
                                              "aten::bincount"};
  return names.contains(name);
}

bool is_mask(const at::Tensor& index) {
  return index.scalar_type() == at::kBool || index.scalar_type() == at::kByte;
}

/// One operation: lends the CPU's kernel views of its operands, and gives back tensors of the
/// device.
class HostCall {
 public:
  explicit HostCall(const c10::OperatorHandle& op)
      : name_(op.schema().name()),
        takes_index_(name_ == "aten::index" || name_ == "aten::_index_put_impl_") {}

  void take(c10::IValue& value, const c10::Argument& argument) {
    const auto* const alias = argument.alias_info();
    const Access access = alias && alias->isWrite() ? Access::kWrites : Access::kReads;
    if (value.isTensor()) {
      value = lend(value.toTensor(), access);
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> lent;
      for (const at::Tensor& t : value.toTensorVector()) lent.push_back(lend(t, access));
      value = c10::IValue(lent);
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> lent;
      for (const std::optional<at::Tensor>& t : value.toOptionalTensorVector())
        lent.push_back(t && t->defined() ? std::optional(lend_index(*t)) : std::nullopt);
      value = c10::IValue(lent);
    } else if (value.isDevice()) {
      if (!device_) device_ = value.toDevice();
      value = c10::IValue(c10::Device(at::kCPU));
    }
  }

  void give_back(c10::IValue& value) const {
    if (value.isTensor()) {
      value = returned(value.toTensor());
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> back;
      for (const at::Tensor& t : value.toTensorVector()) back.push_back(returned(t));
      value = c10::IValue(back);
    }
  }

 private:
  at::Tensor lend_index(const at::Tensor& index) {
    if (is_mask(index)) note("waiting_op", "mask", 0);  // its places are counted first
    if (!index.is_cpu() || !takes_index_) return lend(index, Access::kReads);
    note("h2d", "index", static_cast<int64_t>(index.nbytes()));
    return index;
  }

  at::Tensor lend(const at::Tensor& tensor, Access access) {
    if (!tensor.defined()) return tensor;
    if (!tensor.is_cuda()) {
      // CUDA takes a CPU tensor without dimensions as a number, and nothing else.
      TORCH_CHECK(tensor.is_cpu() && tensor.dim() == 0 && access == Access::kReads,
                  "stand-in: ",
                  name_,
                  ": expected all tensors on the device, found one on ",
                  tensor.device(),
                  " of sizes ",
                  tensor.sizes());
      return tensor;
    }
    TORCH_CHECK(!device_ || !device_->has_index() || *device_ == tensor.device(),
                "stand-in: ",
                name_,
                ": expected all tensors on one device, found ",
                *device_,
                " and ",
                tensor.device());
    device_ = tensor.device();
    given_.push_back(tensor);
    lent_.push_back(host_view(tensor, access));
    return lent_.back();
  }

  at::Tensor returned(const at::Tensor& result) const {
    if (!result.defined() || !result.is_cpu()) return result;
    for (size_t i = 0; i < lent_.size(); ++i) {
      if (!result.is_same(lent_[i])) continue;
      if (result.sizes() != given_[i].sizes()) {  // an output that was given empty
        given_[i].resize_(result.sizes());
        host_view(given_[i], Access::kWrites).copy_(result);
      }
      return given_[i];
    }
    for (const at::Tensor& lent : lent_) {
      TORCH_CHECK(lent.numel() == 0 || result.numel() == 0 ||
                      lent.storage().data() != result.storage().data(),
                  name_,
                  ": a view that the stand-in does not know");
    }
    at::Tensor back = at::empty_strided(
        result.sizes(), result.strides(), result.options().device(device_.value()));
    if (result.numel() > 0) host_view(back, Access::kWrites).copy_(result);
    return back;
  }

  std::string name_;
  bool takes_index_;
  std::optional<c10::Device> device_;
  std::vector<at::Tensor> given_, lent_;
};

/// A product of which the program only wants the time (trainer/telemetry/gemm_rate.cpp), and which
/// would take a CPU minutes: its values stay NaN.
bool is_rate_probe(const std::string& name, const c10::IValue& first) {
  constexpr int64_t kLarge = int64_t{1} << 26;
  return name == "aten::mm" && first.isTensor() && first.toTensor().numel() >= kLarge;
}

/// Every tensor of an operand, or of a result.
c10::IValue without_memory(const c10::IValue& value) {
  if (value.isTensor()) return unowned(value.toTensor());
  if (value.isTensorList()) {
    std::vector<at::Tensor> tensors;
    for (const at::Tensor& t : value.toTensorVector()) tensors.push_back(unowned(t));
    return tensors;
  }
  TORCH_CHECK(!value.isOptionalTensorList(), "stand-in: indices are not recorded");
  return value;
}

std::vector<at::Tensor> tensors_of(const torch::jit::Stack& results) {
  std::vector<at::Tensor> tensors;
  for (const c10::IValue& value : results) {
    if (value.isTensor()) tensors.push_back(value.toTensor());
    if (value.isTensorList())
      for (const at::Tensor& t : value.toTensorVector()) tensors.push_back(t);
  }
  return tensors;
}

/// Replaces the operands on top of the stack by the results.
void compute(const c10::OperatorHandle& op, torch::jit::Stack& stack) {
  const auto& arguments = op.schema().arguments();
  const size_t first = stack.size() - arguments.size();
  HostCall call(op);
  for (size_t i = first; i < stack.size(); ++i) call.take(stack[i], arguments[i - first]);
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack);
  for (size_t i = first; i < stack.size(); ++i) call.give_back(stack[i]);
}

/// Computes once more at a replay, into the memory of the results that were recorded.
void compute_again(const c10::OperatorHandle& op,
                   torch::jit::Stack operands,
                   const torch::jit::Stack& recorded) {
  const at::AutoDispatchBelowADInplaceOrView below;
  compute(op, operands);
  const auto results = tensors_of(operands), places = tensors_of(recorded);
  for (size_t i = 0; i < places.size(); ++i) {
    if (!places[i].is_cuda() || places[i].numel() == 0) continue;
    if (places[i].unsafeGetTensorImpl()->data() == results[i].unsafeGetTensorImpl()->data())
      continue;  // written where it stays
    host_view(places[i], Access::kWrites).copy_(host_view(results[i]));
  }
}

void on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const at::AutoDispatchBelowADInplaceOrView below;
  const std::string& name = op.schema().name();
  if (waits(name)) {
    refuse_while_recording(name.c_str());
    note("waiting_op", name.c_str(), 0);
  }
  note_launch(name.c_str());
  const size_t first = stack->size() - op.schema().arguments().size();
  if (is_rate_probe(name, (*stack)[first])) {
    const at::Tensor a = (*stack)[first].toTensor(), b = (*stack)[first + 1].toTensor();
    const bool has_out = stack->size() - first > 2;
    const at::Tensor out =
        has_out ? (*stack)[first + 2].toTensor() : at::empty({a.size(0), b.size(1)}, a.options());
    torch::jit::drop(*stack, stack->size() - first);
    stack->push_back(out);
    return;
  }
  torch::jit::Stack operands;
  if (is_recording())
    for (size_t i = first; i < stack->size(); ++i) operands.push_back(without_memory((*stack)[i]));
  compute(op, *stack);
  if (!is_recording()) return;
  torch::jit::Stack results;
  for (size_t i = first; i < stack->size(); ++i) results.push_back(without_memory((*stack)[i]));
  remember([op, operands, results] { compute_again(op, operands, results); });
}

TORCH_LIBRARY_IMPL(_, CUDA, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&on_host>());
}

}  // namespace
}  // namespace vmla::standin
