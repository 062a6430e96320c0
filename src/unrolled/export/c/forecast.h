/* z = (past - center) / width of each target. past, z: [count]; center, width: [targets]. */
static void scale_targets(int32_t count, int32_t targets, const double *past, const double *center,
                          const double *width, float *z) {
  for (int32_t n = 0; n < count; n++) {
    z[n] = (float)((past[n] - center[n % targets]) / width[n % targets]);
  }
}

/* The same of log(past). */
static void scale_logs(int32_t count, int32_t targets, const double *past, const double *center,
                       const double *width, float *z) {
  for (int32_t n = 0; n < count; n++) {
    z[n] = (float)((log(past[n]) - center[n % targets]) / width[n % targets]);
  }
}

/* The same of log(1 + past). */
static void scale_logs_of_more(int32_t count, int32_t targets, const double *past,
                               const double *center, const double *width, float *z) {
  for (int32_t n = 0; n < count; n++) {
    z[n] = (float)((log1p(past[n]) - center[n % targets]) / width[n % targets]);
  }
}

/* The same of other columns, [count], of which there are `size`; 0 where one is missing. */
static void scale_columns(int32_t count, int32_t size, const double *given, const double *center,
                          const double *width, float *to) {
  for (int32_t n = 0; n < count; n++) {
    const double x = (given[n] - center[n % size]) / width[n % size];
    to[n] = x == x ? (float)x : 0.0f;
  }
}

static void ones(int32_t count, float *to) {
  for (int32_t n = 0; n < count; n++) to[n] = 1.0f;
}

/* What is taken off a window z, [steps][targets]: the last value of each target that is there, or 0.
   offset: [targets]. */
static void frame_at_last(int32_t steps, int32_t targets, const float *z, float *offset) {
  for (int32_t c = 0; c < targets; c++) {
    offset[c] = 0.0f;
    for (int32_t t = 0; t < steps; t++) {
      if (z[t * targets + c] == z[t * targets + c]) offset[c] = z[t * targets + c];
    }
  }
}

/* The mean of each target, and its deviation, by which the rest is divided. */
static void frame_by_itself(int32_t steps, int32_t targets, const float *z, float *offset,
                            float *size) {
  for (int32_t c = 0; c < targets; c++) {
    float sum = 0.0f, squares = 0.0f, count = 0.0f;
    for (int32_t t = 0; t < steps; t++) {
      const float now = z[t * targets + c];
      if (now != now) continue;
      sum += now;
      count += 1.0f;
    }
    count = vmax(count, 1.0f);
    offset[c] = sum / count;
    for (int32_t t = 0; t < steps; t++) {
      const float off = z[t * targets + c] - offset[c];
      if (off == off) squares += off * off;
    }
    size[c] = vsqrt(squares / count + 1e-5f);
  }
}

/* A window in its frame, in place of a missing value the one before, or 0. */
static void fill(int32_t steps, int32_t targets, const float *z, const float *offset,
                 const float *size, float *filled) {
  for (int32_t c = 0; c < targets; c++) {
    float last = 0.0f;
    for (int32_t t = 0; t < steps; t++) {
      const float now = (z[t * targets + c] - offset[c]) / size[c];
      last = now == now ? now : last;
      filled[t * targets + c] = last;
    }
  }
}

/* How far each value of a window in its frame is from the one before it that is there; 0 of the
   first one, and of one that is missing. */
static void changes(int32_t steps, int32_t targets, const float *z, const float *offset,
                    const float *size, float *values) {
  for (int32_t c = 0; c < targets; c++) {
    float last = 0.0f;
    int32_t any = 0;
    for (int32_t t = 0; t < steps; t++) {
      const float now = (z[t * targets + c] - offset[c]) / size[c];
      const int32_t is_there = now == now;
      values[t * targets + c] = any && is_there ? now - last : 0.0f;
      last = is_there ? now : last;
      any = any || is_there;
    }
  }
}

/* Every `stride`th number, and back. */
static void gather(int32_t count, int32_t stride, const float *restrict from, float *restrict to) {
  for (int32_t n = 0; n < count; n++) to[n] = from[n * stride];
}

static void scatter(int32_t count, int32_t stride, const float *restrict from,
                    float *restrict to) {
  for (int32_t n = 0; n < count; n++) to[n * stride] = from[n];
}

/* What is known of a step that was: `width` values, whether each is missing, of which z says it,
   columns, and numbers of the series. */
static void look_at(int32_t width, int32_t marks, int32_t size, int32_t statics,
                    const float *values, const float *z, const float *columns, const float *series,
                    float *restrict x) {
  copy(width, values, x);
  for (int32_t n = 0; marks && n < width; n++) x[width + n] = z[n] == z[n] ? 0.0f : 1.0f;
  x += width + marks * width;
  copy(size, columns, x);
  copy(statics, series, x + size);
}

/* What is known of a step to come; zeros of one that is not forecast. future: [horizon][known]. */
static void look_ahead(int32_t step, int32_t horizon, int32_t known, int32_t statics,
                       const float *future, const float *series, float *restrict x) {
  if (step >= horizon) {
    zero(known + statics, x);
  } else {
    copy(known, future + step * known, x);
    copy(statics, series, x + known);
  }
}

/* What a model reads of what it said, the first of `size` numbers of each target. */
static void feed(int32_t width, int32_t size, const float *said, float *x) {
  for (int32_t n = 0; n < width; n++) x[n] = said[n * size];
}

/* The same of counts, of which it said the mean. limits: the spread, and the least mean. */
static void feed_counts(int32_t width, int32_t size, const float *limits, const float *said,
                        float *x) {
  for (int32_t n = 0; n < width; n++) x[n] = softplus(said[n * size]) + limits[1];
}

/* What was said as a change, x, becomes where that leads from `level`, which goes there. */
static void rise(int32_t width, int32_t size, const float *x, float *level, float *said) {
  for (int32_t n = 0; n < width; n++) {
    said[n * size] += level[n];
    level[n] += x[n];
  }
}

/* Adds to the first of `size` numbers of each target. */
static void add_to_first(int32_t width, int32_t size, const float *from, float *said) {
  for (int32_t n = 0; n < width; n++) said[n * size] += from[n];
}

/* Raw numbers become quantiles: the median, and others by positive steps from it, stretched. */
static void quantiles_of(int32_t width, int32_t size, int32_t middle, const float *limits,
                         float *p) {
  for (int32_t n = 0; n < width; n++, p += size) {
    float sum = 0.0f;
    for (int32_t r = middle - 1; r >= 0; r--) {
      sum += softplus(p[r]);
      p[r] = p[middle] - sum;
    }
    sum = 0.0f;
    for (int32_t r = middle + 1; r < size; r++) {
      sum += softplus(p[r]);
      p[r] = p[middle] + sum;
    }
    for (int32_t r = 0; r < size; r++) p[r] = p[middle] + limits[0] * (p[r] - p[middle]);
  }
}

/* Mean and deviation. */
static void normal_of(int32_t width, const float *limits, float *p) {
  for (int32_t n = 0; n < width; n++) p[2 * n + 1] = (softplus(p[2 * n + 1]) + limits[1]) * limits[0];
}

/* Location, scale and degrees of freedom. */
static void student_of(int32_t width, const float *limits, float *p) {
  for (int32_t n = 0; n < width; n++, p += 3) {
    p[1] = (softplus(p[1]) + limits[1]) * limits[0];
    p[2] = 2.0f + softplus(p[2]);
  }
}

/* Mean and dispersion of counts. */
static void counts_of(int32_t width, const float *limits, float *p) {
  for (int32_t n = 0; n < 2 * width; n++) p[n] = softplus(p[n]) + limits[1];
}

/* Puts the frame back: of `size` numbers of each target the first `scaled` are multiplied, and the
   first `shifted` then moved. */
static void reframe(int32_t width, int32_t size, int32_t shifted, int32_t scaled,
                    const float *offset, const float *spread, float *p) {
  for (int32_t n = 0; n < width; n++, p += size) {
    for (int32_t r = 0; r < scaled; r++) {
      p[r] = p[r] * spread[n];
      if (r < shifted) p[r] += offset[n];
    }
  }
}

static double on_data(float number, int32_t r, int32_t shifted, int32_t scaled, double center,
                      double width) {
  const double all = r < scaled ? (double)number * width : (double)number;
  return r < shifted ? all + center : all;
}

/* The same with the scale of the data, by which numbers of the data are said. */
static void say(int32_t width, int32_t size, int32_t shifted, int32_t scaled, const float *p,
                const double *center, const double *scale, double *out) {
  for (int32_t n = 0; n < width; n++, p += size, out += size) {
    for (int32_t r = 0; r < size; r++) out[r] = on_data(p[r], r, shifted, scaled, center[n], scale[n]);
  }
}

/* The same of what are logarithms. */
static void say_exp(int32_t width, int32_t size, int32_t shifted, int32_t scaled, const float *p,
                    const double *center, const double *scale, double *out) {
  for (int32_t n = 0; n < width; n++, p += size, out += size) {
    for (int32_t r = 0; r < size; r++) {
      out[r] = exp(on_data(p[r], r, shifted, scaled, center[n], scale[n]));
    }
  }
}

/* The same of logarithms of 1 more. */
static void say_expm1(int32_t width, int32_t size, int32_t shifted, int32_t scaled, const float *p,
                      const double *center, const double *scale, double *out) {
  for (int32_t n = 0; n < width; n++, p += size, out += size) {
    for (int32_t r = 0; r < size; r++) {
      out[r] = expm1(on_data(p[r], r, shifted, scaled, center[n], scale[n]));
    }
  }
}

/* Where a ring is: at its beginning; or kept, and taken up again. */
static void restart(int32_t *place) { *place = 0; }

static void keep(const int32_t *place, int32_t *kept) { *kept = *place; }
