#include <ATen/ATen.h>

#include <vector>

#include "model/io/error.h"
#include "tests/trainer/distributed/worker/works.h"
#include "trainer/distributed/collectives/thread_communicator.h"
#include "trainer/distributed/job/network_address.h"

namespace vmla::distributed {
namespace {

/// Whole numbers, whose sums are exact in every dtype and order, or not.
at::Tensor input(int64_t rank, at::IntArrayRef shape, at::ScalarType dtype) {
  int64_t count = 1;
  for (const int64_t one : shape) count *= one;
  return (at::arange(count, at::kDouble) * 7 + rank * 5).remainder(13).sub(6).view(shape).to(dtype);
}

/// What every operation gives on this rank of a group.
std::vector<at::Tensor> results(Communicator& group, at::ScalarType dtype, int64_t count) {
  const int64_t size = group.size(), rank = group.rank();
  std::vector<at::Tensor> all;
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax}) {
    all.push_back(input(rank, {count}, dtype));
    group.all_reduce(all.back(), op).wait();
  }
  all.push_back(at::zeros({size * count}, dtype));
  group.all_gather(all.back(), input(rank, {count}, dtype)).wait();
  all.push_back(at::zeros({size, count}, dtype));  // its own row is the part
  all.back()[rank].copy_(input(rank, {count}, dtype));
  group.all_gather(all.back(), all.back()[rank]).wait();
  all.push_back(at::zeros({count}, dtype));
  group.reduce_scatter(all.back(), input(rank, {size * count}, dtype)).wait();
  all.push_back(at::zeros({size, count, 2}, dtype));
  group.all_to_all(all.back(), input(rank, {size, count, 2}, dtype)).wait();
  for (const int64_t root : {int64_t{0}, size - 1}) {
    all.push_back(input(rank, {count}, dtype));
    group.broadcast(all.back(), root).wait();
  }
  group.barrier();
  return all;
}

void compare_with_threads(Communicator& group) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kLong, at::kInt}) {
    for (const int64_t count : {0, 1, 37}) {
      const auto found = results(group, dtype, count);
      std::vector<at::Tensor> expected;
      on_threads(group.size(), [&](Communicator& thread) {
        auto all = results(thread, dtype, count);
        if (thread.rank() == group.rank()) expected = std::move(all);
      });
      for (size_t i = 0; i < found.size(); ++i)
        expect(at::equal(found[i], expected[i]),
               formatted("operation {} in {} of {} on rank {}", i, dtype, count, group.rank()));
    }
  }
}

void collectives(Job& job) {
  const auto world = job.world();
  compare_with_threads(*world);
  expect(close_sockets_on_exec() == 0, "a socket is left to processes that a rank starts");
  if (job.size() == 4) {
    const int64_t first = job.rank() / 2 * 2;
    const auto pair = job.group("pair", {first, first + 1});
    compare_with_threads(*pair);
    const auto far = job.group("far", {job.rank() % 2, job.rank() % 2 + 2});
    compare_with_threads(*far);
    expect(far->size() == 2 && far->rank() == job.rank() / 2, "the place in a group");
  }
  // Sums of bf16 are rounded once: 1 + 2^-9 + ... are lost when every step rounds to 8 bits.
  const at::Tensor small = at::full({3}, job.rank() == 0 ? 1.0 : 0x1p-9, at::kBFloat16);
  world->all_reduce(small).wait();
  const double exact = 1 + static_cast<double>(job.size() - 1) * 0x1p-9;
  expect(at::equal(small, at::full({3}, exact, at::kDouble).to(at::kBFloat16)), "a sum in bf16");
  // Its reduce_scatter adds in the order of the ranks, as threads do: the same bits.
  const auto scattered = [](Communicator& group) {
    const at::Tensor part = at::zeros({101});
    const at::Tensor whole =
        at::arange(101 * group.size(), at::kFloat).mul(0.37 + group.rank()).sin();
    group.reduce_scatter(part, whole).wait();
    return part;
  };
  const at::Tensor found = scattered(*world);
  on_threads(job.size(), [&](Communicator& thread) {
    const at::Tensor expected = scattered(thread);
    if (thread.rank() == job.rank()) expect(at::equal(found, expected), "the order of a sum");
  });
  // A gather moves bits, also those of -0.0 and of a NaN with a payload.
  const at::Tensor odd = at::full({2}, 0x7fc12345, at::kInt);
  odd[1].fill_(static_cast<int32_t>(0x80000000));
  const at::Tensor bits = at::zeros({2 * job.size()}, at::kFloat);
  world->all_gather(bits, odd.view(at::kFloat)).wait();
  expect(at::equal(bits.view(at::kInt), odd.repeat({job.size()})), "the bits of a gather");
  // Several under way at once, waited for in another order.
  const at::Tensor one = at::zeros({job.size() * 1000}), two = at::zeros({job.size() * 10});
  const at::Tensor sum = at::ones({5});
  Pending first = world->all_gather(one, at::full({1000}, static_cast<double>(job.rank())));
  Pending second = world->all_gather(two, at::full({10}, static_cast<double>(-job.rank())));
  Pending third = world->all_reduce(sum);
  third.wait();
  second.wait();
  first.wait();
  expect(one.view({-1, 1000})[job.size() - 1].eq(job.size() - 1).all().item<bool>() &&
             two.view({-1, 10})[1].eq(-1).all().item<bool>() &&
             sum.eq(job.size()).all().item<bool>(),
         "overlapped collectives");
  expect(!job.log->longest_awaited() && job.log->latest().back().group == "world",
         "the log of collectives");
}

void other_sizes(Job& job) {
  const auto world = job.world();
  const at::Tensor values = at::zeros({job.rank() == 1 ? 7 : 5});
  world->all_reduce(values).wait();
}

}  // namespace

Works collective_works() {
  return {{"collectives", collectives}, {"other sizes", other_sizes}};
}

}  // namespace vmla::distributed
