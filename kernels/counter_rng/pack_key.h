#pragma once

#include "kernels/counter_rng/counter_rng.h"
#include "kernels/counter_rng/philox.h"

namespace vmla::kernels {

/// A draw's address as the generator takes it; counter_rng.h describes the packing (philox_block).
PhiloxKey pack_key(const DrawKey& key);

}  // namespace vmla::kernels
