#include "model/network/sequence_exchange.h"

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>

namespace vmla::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor checked(at::Tensor received, const at::Tensor& like, at::IntArrayRef sizes) {
  TORCH_CHECK(received.sizes() == sizes && received.scalar_type() == like.scalar_type(),
              "a sequence group was to hand back ",
              sizes,
              " of ",
              like.scalar_type(),
              ", given: ",
              received.sizes(),
              " of ",
              received.scalar_type());
  return received;
}

// The exchanges on tensors whose first dimension is the rank, [P, ...]. Each is the backward of
// another, or of itself.

at::Tensor gather_rows(const at::Tensor& part, SequenceGroup& ranks) {
  std::vector<int64_t> sizes = part.sizes().vec();
  sizes.insert(sizes.begin(), ranks.size());
  return checked(ranks.all_gather(part.contiguous()), part, sizes);
}

at::Tensor own_row(const at::Tensor& rows, SequenceGroup& ranks) {
  return rows.select(0, ranks.index()).contiguous();
}

at::Tensor swap_rows(const at::Tensor& rows, SequenceGroup& ranks) {
  return checked(ranks.all_to_all(rows.contiguous()), rows, rows.sizes());
}

/// The own row of the sum over the ranks. Below fp32 the rows travel as they are and are added in
/// fp32 here: the bytes of a reduce-scatter in their type, without its roundings.
at::Tensor own_row_of_sum(const at::Tensor& rows, SequenceGroup& ranks) {
  if (rows.element_size() < 4)
    return swap_rows(rows, ranks).sum(0, /*keepdim=*/false, at::kFloat).to(rows.scalar_type());
  return checked(ranks.reduce_scatter(rows.contiguous()), rows, rows.sizes().slice(1));
}

using Exchange = at::Tensor (*)(const at::Tensor&, SequenceGroup&);

struct GroupHolder : torch::CustomClassHolder {
  explicit GroupHolder(SequenceGroup& r) : ranks(r) {}
  SequenceGroup& ranks;
};

template <Exchange kForward, Exchange kBackward>
struct ExchangeFunction : torch::autograd::Function<ExchangeFunction<kForward, kBackward>> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, SequenceGroup* ranks) {
    context->saved_data["ranks"] =
        at::IValue::make_capsule(c10::make_intrusive<GroupHolder>(*ranks));
    return kForward(x, *ranks);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto capsule = context->saved_data["ranks"].toCapsule();
    return {kBackward(gradients[0], static_cast<GroupHolder&>(*capsule).ranks), at::Tensor()};
  }
};

template <Exchange kForward, Exchange kBackward>
at::Tensor exchange(const at::Tensor& x, SequenceGroup& ranks) {
  return ExchangeFunction<kForward, kBackward>::apply(x, &ranks);
}

}  // namespace

at::Tensor take_own_tokens(const at::Tensor& whole_BFSX, SequenceGroup& ranks) {
  const at::Tensor rows = whole_BFSX.unflatten(2, {ranks.size(), -1}).movedim(2, 0);
  return exchange<own_row, gather_rows>(rows, ranks);
}

at::Tensor join_tokens(const at::Tensor& own_BFSX, SequenceGroup& ranks) {
  return exchange<gather_rows, own_row>(own_BFSX, ranks).movedim(0, 2).flatten(2, 3);
}

at::Tensor gather_tokens(const at::Tensor& own_BLX, int64_t frames, SequenceGroup& ranks) {
  const at::Tensor own_BFSX = own_BLX.unflatten(1, {frames, -1});
  return exchange<gather_rows, own_row_of_sum>(own_BFSX, ranks).movedim(0, 2).flatten(1, 3);
}

std::vector<at::Tensor> tokens_to_heads(const std::vector<at::Tensor>& parts_BLNX,
                                        int64_t slice_tokens,
                                        SequenceGroup& ranks) {
  const int64_t P = ranks.size();
  std::vector<at::Tensor> sent;
  std::vector<int64_t> numbers;  // of one part for one rank
  for (const at::Tensor& part : parts_BLNX) {
    TORCH_CHECK(part.scalar_type() == parts_BLNX[0].scalar_type(), "one message has one dtype");
    sent.push_back(part.unflatten(2, {P, -1}).movedim(2, 0).flatten(1));
    numbers.push_back(sent.back().size(1));
  }
  const at::Tensor message = sent.size() == 1 ? sent[0] : at::cat(sent, 1);
  auto received = exchange<swap_rows, swap_rows>(message, ranks).split_with_sizes(numbers, 1);
  for (size_t i = 0; i < received.size(); ++i) {
    const at::Tensor& part = parts_BLNX[i];
    // From rank p came its tokens of every frame.
    received[i] = received[i]
                      .view({P, part.size(0), -1, slice_tokens, part.size(2) / P, part.size(3)})
                      .movedim(0, 2)
                      .flatten(1, 3);
  }
  return received;
}

at::Tensor heads_to_tokens(const at::Tensor& part_BLNX,
                           int64_t slice_tokens,
                           SequenceGroup& ranks) {
  const at::Tensor rows =
      part_BLNX.unflatten(1, {-1, ranks.size(), slice_tokens}).movedim(2, 0);  // P B F s N/P X
  return exchange<swap_rows, swap_rows>(rows, ranks).movedim(0, 3).flatten(3, 4).flatten(1, 2);
}

}  // namespace vmla::model
