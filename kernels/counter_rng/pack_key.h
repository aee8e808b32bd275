#pragma once

#include "kernels/counter_rng/counter_rng.h"
#include "kernels/counter_rng/philox.h"

namespace vmla::kernels {

/// The generator's words for a draw's address (packing: counter_rng.h, philox_block).
PhiloxKey pack_key(const DrawKey& key);

}  // namespace vmla::kernels
