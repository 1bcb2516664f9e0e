// The rule of label_upsampling.py for a GPU. To be compiled without fused multiply-adds, which would round once where
// the rule rounds twice.
//
// A thread walks ROWS rows down one column of the photo, so that neighbouring threads read and write neighbouring bytes.
// It counts runs of equal labels and adds a run at once; a warp adds to one of BANKS histograms, so that the few classes
// of a street do not make all threads wait for the same counters.

#define ROWS 16
#define BANKS 64
#define WARP 32

// The lower grid point of an output, and the weight of the one after it.
static __device__ void position(int output, double scale, int inputs, int* low, float* weight) {
    double at = (output + 0.5) * scale - 0.5;
    at = at < 0.0 ? 0.0 : at > inputs - 1.0 ? inputs - 1.0 : at;
    *low = (int)at;
    *weight = (float)(at - *low);
}

static __device__ float between(float before, float after, float weight) {
    return (1.0f - weight) * before + weight * after;
}

static __device__ float interpolate(const float* plane, int columns, int top, int bottom, int left, int right,
                                    float vertical, float horizontal) {
    const float* above = plane + (long long)top * columns;
    const float* below = plane + (long long)bottom * columns;
    return between(between(above[left], above[right], horizontal), between(below[left], below[right], horizontal),
                   vertical);
}

// logits: classes x grid_rows x grid_columns. largest: grid_rows x grid_columns; null where no confidence is wanted.
// labels, confidence: rows x columns. counts: BANKS x classes, of zeros.
extern "C" __global__ void upsample(const float* logits, const float* largest, unsigned char* labels,
                                    unsigned char* confidence, int* counts, int classes, int grid_rows,
                                    int grid_columns, int rows, int columns, double vertical_scale,
                                    double horizontal_scale) {
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    int left, top;
    float horizontal, vertical;
    position(column, horizontal_scale, grid_columns, &left, &horizontal);
    int right = left + 1 < grid_columns ? left + 1 : left;
    int* bank = counts + (column / WARP + blockIdx.y) % BANKS * classes;
    int counted = 0, run = 0;
    int first = blockIdx.y * ROWS, end = first + ROWS < rows ? first + ROWS : rows;
    for (int row = first; row < end; row++) {
        position(row, vertical_scale, grid_rows, &top, &vertical);
        int bottom = top + 1 < grid_rows ? top + 1 : top;
        long long pixel = (long long)row * columns + column;
        int winner = 0;
        float best = 0.0f;
        for (int label = 0; label < classes; label++) {
            const float* plane = logits + (long long)label * grid_rows * grid_columns;
            float value = interpolate(plane, grid_columns, top, bottom, left, right, vertical, horizontal);
            if (label == 0 || value > best) {
                best = value;
                winner = label;
            }
        }
        labels[pixel] = winner;
        if (winner != counted) {
            if (run) atomicAdd(bank + counted, run);
            counted = winner;
            run = 0;
        }
        run++;
        if (largest) {
            float value = interpolate(largest, grid_columns, top, bottom, left, right, vertical, horizontal);
            confidence[pixel] = (unsigned char)(value * 255.0f + 0.5f);
        }
    }
    if (run) atomicAdd(bank + counted, run);
}
